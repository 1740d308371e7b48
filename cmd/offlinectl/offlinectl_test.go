//go:build synctests

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/cli/clitest"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// obey does what the parameters say.
func obey(ctx context.Context, x *task.Execution) error {
	what, _, _ := strings.Cut(strings.Trim(string(x.Raw), `"`), " ")
	switch {
	case what == "fail" && x.Replay == 0:
		return task.Permanent(errors.New("cannot open index: no such file\nor directory"))
	case what == "retry" && x.Attempt == 1:
		return errors.New("store is busy")
	case what == "evil":
		x.Progress(0.5, "\x1b[2Jgone\u202e")
		return task.Permanent(errors.New("\x1b]0;owned\x07boom"))
	case what == "run":
		x.Moved(5 << 20)
		if err := x.Checkpoint(map[string]int{"at": 7}); err != nil {
			return err
		}
		x.Progress(0.42, "merging segment 3 of 7")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Minute):
		}
	}
	return x.SetResult(map[string]int{"segments": 1})
}

// session writes down what commands print.
type session struct {
	*clitest.World
	text strings.Builder
}

func (s *session) run(args string, options ...clitest.Option) clitest.Result {
	s.T.Helper()
	r := s.Run(args, options...)
	fmt.Fprintf(&s.text, "$ offlinectl %s\n%s", args, r.Text())
	return r
}

// fleet has one node and tasks in every status. "live" runs for 20 minutes.
func (s *session) fleet() {
	s.T.Helper()
	s.Node("node-a.internal.example.com", obey, task.Slots(4), task.Retry(task.RetryPolicy{MaxAttempts: 3, Initial: time.Hour, Max: time.Hour, Factor: 2}))
	s.Submit("0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e", `"ok"`, task.OpaqueID("order-7"))
	s.Submit("0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8f", `"fail 1"`)
	s.Ended("0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e", "0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8f")
	s.Submit("later", `"ok"`, task.In(3*time.Hour))
	s.Submit("again", `"retry"`)
	s.Submit("stopped", `"ok"`, task.In(time.Hour))
	_, err := s.Client.Cancel(s.T.Context(), "stopped")
	require.NoError(s.T, err)
	s.Submit("live", `"run"`)
	s.Eventually("live runs and again waits", func() bool {
		states, err := s.Client.States(s.T.Context(), []string{"live", "again"})
		require.NoError(s.T, err)
		return states[0].Status == task.Active && states[1].Attempt == 2
	})
}

func in(t *testing.T, test func(s *session)) {
	t.Helper()
	clitest.In(t, newCommand, func(w *clitest.World) { test(&session{World: w}) })
}

func TestTasks(t *testing.T) {
	in(t, func(s *session) {
		start := time.Now()
		s.fleet()
		time.Sleep(time.Until(start.Add(12*time.Minute + 30*time.Second))) // ages of whole minutes
		s.run("tasks list", clitest.Wide(80))
		s.run("tasks list", clitest.Wide(120))
		s.run("tasks list")
		s.run("tasks list --status FAILED,cancelled --json")
		s.run("tasks list --status ACTIVE --node node-a.internal.example.com", clitest.Wide(80))
		s.run("tasks list --older-than 2h")
		s.run("tasks list --type other --json")
		s.run("tasks get live again later 0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e 0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8f stopped nobody")
		s.run("tasks get live nobody --json")
		s.run("tasks cancel later stopped 0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e nobody live")
		s.run("tasks cancel nobody 'not an id' --unknown --json")
		watched := s.Run("tasks watch live")
		require.Equal(s.T, cli.Cancelled, watched.Code)
		require.Regexp(s.T, `(?m)^00:0[01]:\d\d  ACTIVE      live  work  node-a.internal.example.com  to be cancelled: 42% merging segment 3 of 7$`, watched.Out)
		require.Regexp(s.T, `(?m)^00:12:\d\d  CANCELLED   live  work  node-a.internal.example.com  12m  task cancelled on request$`, watched.Out)
		s.run("nodes", clitest.Wide(80))
		s.run("nodes")
		clitest.Golden(s.T, "tasks", s.text.String())
	})
}

func TestPagesAreOfTheSizeThatWasAskedFor(t *testing.T) {
	in(t, func(s *session) {
		want := map[string]bool{}
		for i := range 25 {
			id := fmt.Sprintf("t%02d", i)
			s.Submit(id, `"ok"`)
			want[id] = true
		}
		seen := map[string]bool{}
		cursor, pages := "", 0
		for {
			args := "tasks list --json --limit 10"
			if cursor != "" {
				args += " --cursor " + cursor
			}
			r := s.Run(args)
			require.Equal(s.T, cli.Done, r.Code, r.Err)
			pages++
			cursor = ""
			rows := 0
			for line := range strings.Lines(r.Out) {
				var row struct {
					ID   string `json:"task_id"`
					Next string `json:"next_cursor"`
				}
				require.NoError(s.T, json.Unmarshal([]byte(line), &row))
				if cursor = row.Next; cursor == "" {
					require.False(s.T, seen[row.ID], "%s came twice", row.ID)
					seen[row.ID] = true
					rows++
				}
			}
			if cursor == "" {
				break
			}
			require.Equal(s.T, 10, rows)
			s.Submit(fmt.Sprintf("new%d", pages), `"ok"`) // what comes meanwhile may be there or not
		}
		require.Equal(s.T, 3, pages)
		for id := range want {
			require.True(s.T, seen[id], id)
		}
		require.Contains(s.T, s.Run("tasks list --limit 3").Err, "There is more: add --cursor @t")
		all := s.Run("tasks list --limit 0")
		require.Equal(s.T, 1+27, strings.Count(all.Out, "\n"))
		require.Empty(s.T, all.Err)
		require.Equal(s.T, cli.NotDone, s.Run("tasks list --cursor nonsense").Code)
	})
}

func TestWatchingIDsEndsWithTheirOutcome(t *testing.T) {
	in(t, func(s *session) {
		s.Node("n1", obey, task.Slots(4))
		s.Submit("quick", `"ok"`)
		s.Submit("broken", `"fail"`)
		s.Submit("live", `"run"`)
		s.Ended("quick", "broken")
		require.Equal(s.T, cli.Done, s.run("tasks watch quick").Code)
		require.Equal(s.T, cli.Failed, s.run("tasks watch quick broken").Code)
		require.Equal(s.T, cli.Failed, s.run("tasks watch quick nobody").Code)
		require.Equal(s.T, cli.NotDone, s.run("tasks watch quick --type work").Code)

		ctx, interrupt := context.WithCancel(s.T.Context())
		time.AfterFunc(20*time.Second, interrupt)
		r := s.RunContext(ctx, "tasks watch live", clitest.Live(80), clitest.Wide(60))
		require.Equal(s.T, cli.Unknown, r.Code)
		require.Contains(s.T, r.Err, "[########------------]  42% merging segment 3 of 7  n1")
		require.True(s.T, strings.HasSuffix(r.Err, "offlinectl: stopped watching: the task goes on\n  follow  offlinectl tasks watch live\n  cancel  offlinectl tasks cancel live\n"), r.Err)

		require.Equal(s.T, cli.Done, s.run("tasks watch live --json").Code)
	})
}

func TestWatchingAllShowsEvents(t *testing.T) {
	in(t, func(s *session) {
		s.Node("n1", obey, task.Slots(4))
		s.Submit("before", `"ok"`)
		s.Ended("before")
		watch := func(args string) (wait func() clitest.Result) {
			done := make(chan clitest.Result, 1)
			go func() { done <- s.Run(args) }()
			time.Sleep(10 * time.Second) // it has joined
			return func() clitest.Result { return <-done }
		}
		first := watch("tasks watch --count 2")
		failures := watch("tasks watch --status FAILED --type work --count 1 --json")
		s.Submit("good", `"ok"`)
		s.Ended("good")
		s.Submit("broken", `"fail"`)
		s.Ended("broken")
		r := first()
		require.Equal(s.T, cli.Done, r.Code)
		require.Equal(s.T, "Watching completion events. Ctrl-C ends.\n", r.Err)
		require.Equal(s.T, 2, strings.Count(r.Out, "\n"))
		require.Regexp(s.T, `(?m)^00:00:\d\d  SUCCESS     good  work  n1  \{"segments":1\}$`, r.Out)
		require.Regexp(s.T, `(?m)^00:00:\d\d  FAILED      broken  work  n1  permanent: cannot open index: no such file or directory$`, r.Out)
		var event cli.Task
		require.NoError(s.T, json.Unmarshal([]byte(failures().Out), &event))
		require.Equal(s.T, "broken", event.ID)

		ctx, interrupt := context.WithCancel(s.T.Context())
		time.AfterFunc(20*time.Second, interrupt)
		require.Equal(s.T, cli.Done, s.RunContext(ctx, "tasks watch").Code, "Ctrl-C is how it ends")
		require.Equal(s.T, cli.NotDone, s.Run("tasks watch --status ACTIVE").Code)
		require.Equal(s.T, cli.NotDone, s.Run("tasks watch --count=-1").Code)
	})
}

// letter puts a dead letter on its topic as it may be found there.
func (s *session) letter(id, reason, params string, headers ...kgo.RecordHeader) {
	s.T.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(s.Servers.Addresses.Kafka), kgo.Dialer(s.Servers.KafkaDialer))
	require.NoError(s.T, err)
	defer c.Close()
	headers = append(headers, kgo.RecordHeader{Key: "task-id", Value: []byte(id)},
		kgo.RecordHeader{Key: "dead-letter-reason", Value: []byte(reason)}, kgo.RecordHeader{Key: "dead-letter-type", Value: []byte("work")})
	require.NoError(s.T, c.ProduceSync(s.T.Context(), &kgo.Record{Topic: "tasks.dead-letter", Key: []byte(id), Value: []byte(params), Headers: headers}).FirstErr())
}

func TestDeadLetters(t *testing.T) {
	in(t, func(s *session) {
		s.Node("n1", obey, task.Slots(4))
		s.run("dead-letters list")
		s.Submit("0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e", `"fail 1"`)
		s.Ended("0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e")
		time.Sleep(5 * time.Minute)
		s.Submit("evil", `"evil"`)
		s.Ended("evil")
		time.Sleep(time.Second)
		s.letter("conflict", "id_conflict", `{"n": 1, "text": "a\u202eb"}`)
		time.Sleep(time.Second)
		s.letter("conflict", "id_conflict", `{"n": 2}`)
		time.Sleep(time.Second)
		s.letter("stub", "too_large", "", kgo.RecordHeader{Key: "dead-letter-stub-bytes", Value: []byte("4194304")},
			kgo.RecordHeader{Key: "dead-letter-stub-sha256", Value: []byte(strings.Repeat("ab", 32))})
		time.Sleep(10 * time.Second)
		s.run("dead-letters list", clitest.Wide(80))
		s.run("dead-letters list", clitest.Wide(130))
		s.run("dead-letters list --limit 1")
		s.run("dead-letters list --reason permanent,worker-lost --since 3m --json")
		s.run("dead-letters list --until 3m")
		s.run("dead-letters list --class *errors.errorString evil")
		s.run("dead-letters list --reason nonsense")
		s.run("dead-letters list --since soon")
		s.run("dead-letters list --since 1m --until 2m")
		s.run("dead-letters show 0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e")
		s.run("dead-letters show evil")
		s.run("dead-letters show evil --json")
		s.run("dead-letters show conflict")
		s.run("dead-letters show stub")
		s.run("dead-letters show stub --raw")
		s.run("dead-letters show nobody")
		s.run("dead-letters redrive")
		s.run("dead-letters redrive --all evil")
		s.run("dead-letters redrive --all --dry-run", clitest.Wide(80))
		s.run("dead-letters redrive --type work --since 3m --dry-run --json")
		s.run("dead-letters redrive 0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e nobody")
		s.waitReplay("0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e", 1)
		s.run("dead-letters redrive 0190c3a4-7f2b-7c80-9d5e-3f1b2a6c4d8e")
		s.run("dead-letters redrive --reason retries_exhausted")
		clitest.Golden(s.T, "dead-letters", conflicts(s.text.String()))
	})
}

// waitReplay waits until a replay of a task has ended.
func (s *session) waitReplay(id string, replay int) {
	s.T.Helper()
	s.Eventually("the replay", func() bool {
		state, err := s.Client.State(s.T.Context(), id)
		require.NoError(s.T, err)
		return state.Replay >= replay && state.Status.Terminal()
	})
}

// conflicts makes the new ids of conflict letters the same at every run.
func conflicts(text string) string {
	parts := strings.Split(text, "redriven-")
	for i := 1; i < len(parts); i++ {
		parts[i] = "N" + strings.TrimLeft(parts[i], "0123456789-")
	}
	return strings.Join(parts, "redriven-")
}

func TestRawParametersComeByteForByte(t *testing.T) {
	in(t, func(s *session) {
		params := append([]byte("\x00\xff\x1b[2J\r\n"), bytes.Repeat([]byte{7}, 2000)...)
		s.letter("binary", "permanent", string(params))
		s.letter("text", "permanent", "plain\ttext\n\x1b[31mred")
		raw := s.Run("dead-letters show binary --raw")
		require.Equal(s.T, clitest.Result{Out: string(params)}, raw)
		s.run("dead-letters show binary")
		s.run("dead-letters show text")
		require.NotContains(s.T, s.text.String(), "\x1b")
		require.Contains(s.T, s.text.String(), "plain\ttext\n\\x1b[31mred\n")
		require.Contains(s.T, s.text.String(), "00000000  00 ff 1b 5b 32 4a 0d 0a  07 07")
		require.Contains(s.T, s.text.String(), "… and 984 B more: --raw writes all")
		var l letter
		require.NoError(s.T, json.Unmarshal([]byte(s.Run("dead-letters show binary --json").Out), &l))
		require.Equal(s.T, len(params), l.ParamsBytes)
		require.NotEmpty(s.T, l.ParamsBase64)
		require.Equal(s.T, cli.NotDone, s.Run("dead-letters show binary --json --raw").Code)
		require.Equal(s.T, cli.NotDone, s.Run("dead-letters show binary text").Code)
	})
}

func TestDeadLettersAreReadWhileRedisIsAway(t *testing.T) {
	in(t, func(s *session) {
		s.letter("mine", "permanent", `{}`)
		away := func(std *cli.IO) {
			std.RedisDialer = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		}
		require.Contains(s.T, s.Run("dead-letters list", away).Out, "mine")
		require.Equal(s.T, cli.Done, s.Run("dead-letters show mine", away).Code)
		r := s.Run("dead-letters redrive mine", away)
		require.Equal(s.T, cli.NotDone, r.Code)
		require.Contains(s.T, r.Err, "Redis does not answer")
	})
}

func TestWhatRedisForgotIsSaid(t *testing.T) {
	in(t, func(s *session) {
		s.Submit("mine", `"ok"`)
		s.Servers.Redis.FlushAll()
		s.run("tasks get mine")
		s.run("tasks cancel mine")
		s.run("tasks cancel mine --unknown")
		s.Node("n1", obey)
		s.Ended("mine")
		time.Sleep(clitest.Retention + time.Minute)
		s.run("tasks get mine")
		s.run("tasks get mine --search --json")
		clitest.Golden(s.T, "forgotten", s.text.String())
	})
}

func TestDoctorAndTopics(t *testing.T) {
	in(t, func(s *session) {
		require.Equal(s.T, cli.NotDone, s.run("topics ensure").Code)
		require.Equal(s.T, cli.NotDone, s.run("topics ensure Work").Code)
		require.Equal(s.T, cli.Done, s.run("topics ensure work play").Code)
		r := s.run("doctor --type work")
		require.Equal(s.T, cli.Done, r.Code, "warnings alone")
		stop := s.Node("n1", obey)
		s.run("doctor --json --store.url mem://")
		stop()
		require.Equal(s.T, cli.NotDone, s.run("doctor --type missing", clitest.Wide(60)).Code)
		s.Servers.Redis.SetError("NOAUTH Authentication required.")
		require.Equal(s.T, cli.NotDone, s.run("doctor").Code)
		clitest.Golden(s.T, "doctor", s.text.String())

		away := func(std *cli.IO) {
			refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
			std.RedisDialer, std.KafkaDialer = refuse, refuse
		}
		var severities []string
		for line := range strings.Lines(s.Run("doctor --json", away).Out) {
			var f finding
			require.NoError(s.T, json.Unmarshal([]byte(line), &f))
			severities = append(severities, f.Severity+" "+f.Where)
			require.Contains(s.T, f.What, "connection refused")
			require.NotEmpty(s.T, f.Advice)
		}
		require.Equal(s.T, []string{"error redis", "error kafka"}, severities)
	})
}

func TestCommandLinesThatMakeNoSense(t *testing.T) {
	in(t, func(s *session) {
		for _, args := range []string{
			"nonsense", "task list", "tasks gte x", "tasks get", "tasks list x", "tasks list --status x", "tasks list --limit=-1",
			"tasks list --older-than soon", "tasks cancel", "nodes x", "doctor --nonsense", "dead-letters show",
		} {
			require.Equal(s.T, cli.NotDone, s.run(args).Code, args)
		}
		clitest.Golden(s.T, "usage", s.text.String())
	})
}

func TestHelpFitsATerminal(t *testing.T) {
	in(t, func(s *session) {
		for _, args := range []string{
			"", "tasks", "tasks get", "tasks list", "tasks watch", "tasks cancel", "nodes", "dead-letters", "dead-letters list",
			"dead-letters show", "dead-letters redrive", "topics", "topics ensure", "doctor",
		} {
			r := s.Run(args + " --help")
			require.Equal(s.T, cli.Done, r.Code)
			for line := range strings.Lines(r.Out) {
				require.LessOrEqual(s.T, len([]rune(strings.TrimRight(line, "\n"))), 80, line)
			}
		}
		require.Contains(s.T, s.Run("tasks").Out, "Usage:", "a group alone shows its help")
	})
}

func TestCompletion(t *testing.T) {
	in(t, func(s *session) {
		s.Node("n1", obey)
		complete := func(args string) string { return s.Run("__complete " + args).Out }
		require.Contains(s.T, complete("tasks list --status ACTIVE,F"), "ACTIVE,FAILED\n")
		require.Contains(s.T, complete("tasks list --type ''"), "work\n")
		require.Contains(s.T, complete("tasks list --node ''"), "n1\n")
		require.Contains(s.T, complete("dead-letters list --reason w"), "worker_lost\t")
		require.Contains(s.T, complete("dead-letters ''"), "redrive\t")
		require.Contains(s.T, complete("topics ensure ''"), "work\n")
		require.Contains(s.T, s.Run("completion bash").Out, "__start_offlinectl")
	})
}

// The names that scripts rely on: a change here breaks them.
func TestJSONKeepsItsNames(t *testing.T) {
	keys := func(v any) (names []string) {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		decoder := json.NewDecoder(bytes.NewReader(text))
		_, err = decoder.Token()
		require.NoError(t, err)
		for decoder.More() {
			name, err := decoder.Token()
			require.NoError(t, err)
			names = append(names, fmt.Sprint(name))
			var value json.RawMessage
			require.NoError(t, decoder.Decode(&value))
		}
		return names
	}
	at := time.Unix(1, 0)
	raw := json.RawMessage("1")
	require.Equal(t, []string{
		"task_id", "type", "status", "replay", "attempt", "max_attempts", "allocation_id", "parent", "node",
		"explanation", "cancel_requested", "reason", "error", "error_class", "describe",
		"fraction", "note", "bytes_moved", "result", "checkpoint",
		"changed_at", "submitted_at", "not_before", "deadline", "assigned_at", "started_at", "beat_at", "completed_at", "first_failure",
		"lost", "interrupted", "lease_seconds", "x_opaque_id",
	}, keys(cli.Task{
		ID: "a", Type: "a", Status: task.Active, MaxAttempts: 1, AllocationID: 1, Parent: "a", Node: "a", Explanation: "a",
		CancelRequested: true, Reason: "a", Error: "a", ErrorClass: "a", Describe: "a", Fraction: 1, Note: "a", BytesMoved: 1, Result: raw, Checkpoint: raw,
		ChangedAt: at, SubmittedAt: at, NotBefore: at, Deadline: at, AssignedAt: at, StartedAt: at, BeatAt: at, CompletedAt: at, FirstFailure: at,
		Lost: 1, Interrupted: 1, Lease: 1, OpaqueID: "a",
	}))
	require.Equal(t, []string{
		"task_id", "type", "reason", "error_class", "message", "unreadable", "replay", "attempts", "lost", "node", "at",
		"first_failure", "last_failure", "submitted_at", "x_opaque_id", "origin", "letter", "params_bytes", "stub", "sha256",
		"content_type", "params", "params_base64",
	}, keys(letter{
		Type: "a", ErrorClass: "a", Message: "a", Unreadable: "a", Lost: 1, Node: "a", FirstFailure: at, LastFailure: at, SubmittedAt: at,
		OpaqueID: "a", Origin: "a", Stub: true, SHA256: "a", ContentType: "a", Params: raw, ParamsBase64: "a",
	}))
	require.Equal(t, []string{"task_id", "new_task_id", "replay", "type", "reason", "outcome", "error"}, keys(redriven{NewID: "a", Type: "a", Error: "a"}))
	require.Equal(t, []string{"task_id", "outcome", "error", "task"}, keys(cancelled{Error: "a", Task: &cli.Task{}}))
	require.Equal(t, []string{"severity", "where", "what", "advice"}, keys(finding{Advice: "a"}))
	require.Equal(t, []string{"id", "name", "types", "started_at", "beat_at"}, keys(claims.Node{}))
}
