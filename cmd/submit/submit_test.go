//go:build synctests

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/cli/clitest"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// obey does what the parameters say: succeed, fail, or run for so many seconds.
func obey(ctx context.Context, x *task.Execution) error {
	var p struct {
		Fail    bool `json:"fail"`
		Seconds int  `json:"seconds"`
	}
	if len(x.Raw) > 0 {
		if err := json.Unmarshal(x.Raw, &p); err != nil {
			return task.Permanent(err)
		}
	}
	for i := range p.Seconds {
		x.Progress(float64(i)/float64(p.Seconds), fmt.Sprintf("second %d", i))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	if p.Fail {
		return task.Permanent(errors.New("told to fail"))
	}
	return x.SetResult(map[string]any{"seconds": p.Seconds, "type": x.Type})
}

func write(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tasks.ndjson")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
	return path
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

func TestOneTaskPrintsItsID(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		r := w.Run(`work --params '{"seconds":1}' --opaque-id mine --max-attempts 2 --deadline 2h`)
		require.Empty(t, r.Err)
		require.Equal(t, cli.Done, r.Code)
		id := strings.TrimSpace(r.Out)
		require.Regexp(t, uuids, id)
		s, err := w.Client.State(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "mine", s.OpaqueID)
		require.Equal(t, 2, s.MaxAttempts)
		require.True(t, s.Deadline.Equal(time.Now().Add(2*time.Hour)))

		require.Equal(t, clitest.Result{Out: "a\n"}, w.Run("work --id a --at 2000-01-01T01:00:00Z"))
		s, err = w.Client.State(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "waits until 2000-01-01 01:00:00Z", s.Explanation)

		file := write(t, `{"seconds": 3}`)
		require.Equal(t, clitest.Result{Out: "b\n"}, w.Run("work --id b --params @"+file))
		require.Equal(t, clitest.Result{Out: "c\n"}, w.Run("work --id c --params -", clitest.Input(`{"seconds": 3}`)))
		require.Equal(t, clitest.Result{Out: "d\n"}, w.Run("work --id d --params 'no json' --content-type text/plain"))
		b, err := w.Client.States(t.Context(), []string{"b", "c"})
		require.NoError(t, err)
		require.Equal(t, task.Hash([]byte(`{"seconds": 3}`)), b[0].ParamsHash, "byte for byte")
		require.Equal(t, b[0].ParamsHash, b[1].ParamsHash)
	})
}

func TestWaitingTellsTheOutcome(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		w.Node("n1", obey, task.Slots(2))
		var b strings.Builder
		for _, args := range []string{
			`work --wait --id good --params '{"seconds":3}'`,
			`work --wait --id bad --params '{"fail":true}'`,
			`work --wait --id good --params '{"seconds":3}'`,
			`work --wait --json --id json --params '{"seconds":1}'`,
			`work --wait --timeout 2s --id slow --params '{"seconds":30}'`,
			`work --wait --timeout 2s --id slower --json --params '{"seconds":30}'`,
		} {
			fmt.Fprintf(&b, "$ submit %s\n%s", args, w.Run(args).Text())
		}
		cancelled := make(chan error, 1)
		go func() {
			time.Sleep(5 * time.Second)
			_, err := w.Client.Cancel(t.Context(), "gone")
			cancelled <- err
		}()
		fmt.Fprintf(&b, "$ (cancelled meanwhile)\n%s", w.Run(`work --wait --id gone --params '{"seconds":100}'`).Text())
		require.NoError(t, <-cancelled)
		clitest.Golden(t, "wait", b.String())
	})
}

func TestATaskThatIsThereIsFound(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		w.Node("n1", obey)
		first := w.Run(`work --unique cat.jpg`)
		require.Equal(t, cli.Done, first.Code)
		id := strings.TrimSpace(first.Out)
		require.Equal(t, clitest.Result{Out: "mine\n"}, w.Run(`work --id mine`))
		w.Ended(id, "mine")
		require.Equal(t, clitest.Result{Out: id + "\n", Err: "submit: " + id + " was there already, SUCCESS: --again runs it once more\n"}, w.Run(`work --unique cat.jpg`))
		require.Equal(t, clitest.Result{Out: "mine\n", Err: "submit: mine was there already, SUCCESS\n"}, w.Run(`work --id mine`))
		require.Equal(t, clitest.Result{Code: cli.Failed, Err: "submit: mine: another task with other parameters has this id\n"}, w.Run(`work --id mine --params 7`))

		again := w.Run(`work --unique cat.jpg --again --wait --json`)
		require.Equal(t, cli.Done, again.Code)
		var a answer
		require.NoError(t, json.Unmarshal([]byte(again.Out), &a))
		require.Equal(t, 1, a.Task.Replay, "it waited for the new replay")
	})
}

func TestManyTasksComeFromAFile(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		w.Node("n1", obey, task.Slots(4))
		lines := []string{
			`{"type":"work","id":"one","params":{"seconds":1}}`,
			`{"type":"work","id":"two","parms":{}}`,
			``,
			`not json`,
			`{"id":"three","in":"2s"}`,
			`{"type":"work","id":"four","params":{"fail":true}}`,
			`[1, 2]`,
			`{"type":"work","in":5}`,
			`{"type":"work","again":"yes"}`,
			`{"type":"work","max_attempts":1.5}`,
			`{"type":"work","id":"a b"}`,
			`{"type":"work","id":"x","unique":"y","in":"1s","run_at":"2000-01-01T00:00:00Z","deadline":"soon"}`,
			`{"type":"work","unique_for":"1h"}`,
			`{"type":"work","id":"one","params":{"seconds":1}}`,
			`{"type":"work","id":"one","params":{"seconds":2}}`,
			`{"type":"work","id":"five","params_base64":"e30="} {"type":"work"}`,
			`{"type":"work","id":"six","params_base64":"e30=","params":{}}`,
			`{"type":"work","id":"seven","params_base64":"e30="}`,
			`{"type":"nowhere","id":"eight"}`,
			`{"type":"work","id":"nine","params":"` + strings.Repeat("x", 300<<10) + `"}`,
			`{"type":"work","id":"ten","params":"` + strings.Repeat("y", maxLineBytes) + `"}`,
			`{"type":"work","id":"eleven","deadline":"1h"}`,
		}
		file := write(t, lines...)
		var b strings.Builder
		for _, args := range []string{
			`--file FILE --strict`, `work --file FILE --wait`, `work --file FILE --json`,
		} {
			fmt.Fprintf(&b, "$ submit %s\n%s", args, sorted(w.Run(strings.ReplaceAll(args, "FILE", file))).Text())
		}
		clitest.Golden(t, "many", strings.ReplaceAll(b.String(), file, "FILE"))
		require.Equal(t, cli.Failed, w.Run(`work --file -`, clitest.Input(strings.Join(lines, "\r\n"))).Code, "lines of Windows")
	})
}

// sorted puts lines in order that come as tasks end.
func sorted(r clitest.Result) clitest.Result {
	lines := strings.SplitAfter(r.Out, "\n")
	if !strings.HasPrefix(r.Out, "{") {
		slices.Sort(lines)
	}
	r.Out = strings.Join(lines, "")
	return r
}

func TestStrictPublishesNothingOfABadFileAndAllOfAGoodOne(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		bad := w.Run(`--file - --strict --json`, clitest.Input("{\"type\":\"work\",\"id\":\"a\"}\n{}\n"))
		require.Equal(t, cli.NotDone, bad.Code)
		require.JSONEq(t, `{"line":2,"outcome":"invalid","error":"no task type"}`, bad.Out)
		require.Contains(t, bad.Err, "1 bad line: nothing was published (--strict)")
		states, err := w.Client.States(t.Context(), []string{"a"})
		require.NoError(t, err)
		require.Nil(t, states[0])

		file := write(t, `{"type":"work","id":"a"}`, `{"type":"work","id":"b"}`)
		good := w.Run(`--strict --file ` + file)
		require.Equal(t, clitest.Result{Out: "a\nb\n", Err: "2 tasks accepted\n"}, good)
		piped := w.Run(`--strict --file -`, clitest.Input("\xef\xbb\xbf{\"type\":\"work\",\"id\":\"c\"}"))
		require.Equal(t, clitest.Result{Out: "c\n", Err: "1 task accepted\n"}, piped)
		require.Equal(t, clitest.Result{Err: "0 tasks accepted\n"}, w.Run(`--file -`))
	})
}

func TestManyMoreThanABatch(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		var b strings.Builder
		for i := range 2*batchTasks + 100 {
			fmt.Fprintf(&b, "{\"id\":\"t%d\"}\n", i)
		}
		r := w.Run(`work --file -`, clitest.Input(b.String()), clitest.Live(80))
		require.Equal(t, cli.Done, r.Code)
		require.Equal(t, 2*batchTasks+100, strings.Count(r.Out, "\n"))
		require.Contains(t, r.Err, "2,100 tasks accepted\n")
	})
}

func TestCtrlCWhileWaitingLeavesTheTasksAlone(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		w.Node("n1", obey, task.Slots(10))
		var b strings.Builder
		for _, c := range []struct{ args, input string }{
			{`work --wait --id alone --params '{"seconds":30}' --redis.prefix=offline:`, ""},
			{`work --wait --file -`, strings.Repeat("{\"params\":{\"seconds\":30}}\n", 4) + `{"params":{}}`},
			{`work --wait --json --file -`, `{"id":"single","params":{"seconds":30}}`},
		} {
			ctx, interrupt := context.WithCancel(t.Context())
			time.AfterFunc(8*time.Second, interrupt)
			r := w.RunContext(ctx, c.args, clitest.Input(c.input))
			fmt.Fprintf(&b, "$ submit %s\n%s", c.args, r.Text())
		}
		clitest.Golden(t, "ctrl-c", b.String())
		w.Ended("alone")
	})
}

func TestProgressIsForTerminalsAlone(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		w.Node("n1", obey, task.Slots(4))
		quiet := w.Run(`work --wait --params '{"seconds":12}'`)
		require.Empty(t, quiet.Err)
		one := w.Run(`work --wait --params '{"seconds":12}'`, clitest.Live(60))
		require.Contains(t, one.Err, "[##########----------]  50% second 6  n1")
		many := w.Run(`work --wait --file -`, clitest.Input(strings.Repeat("{\"params\":{\"seconds\":12}}\n", 3)+`{"params":{"fail":true}}`), clitest.Live(60))
		require.Contains(t, many.Err, "[#####---------------] 1 of 4 ended, 1 failed, 3 running")
		for line := range strings.SplitSeq(one.Err+many.Err, "\r\x1b[K") {
			require.LessOrEqual(t, len(line), 60)
		}
	})
}

func TestCommandLinesThatMakeNoSense(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		var b strings.Builder
		for _, args := range []string{
			``, `a b`, `work --file x --id y`, `work --params '{"a"'`, `work --params '{} {}'`, `work --strict`, `work --timeout 3s`,
			`--file /no/such/file`, `work --params @/no/such/file`, `Work`, `work --in soon`, `work --at tomorrow`,
			`work --at 2000-01-01T01:00:00Z --deadline 30m`, `work --nonsense`, `work --redis.lease=3`, `work --kafka.prefix 'a b'`,
			`work --unique x --id y --again --unique-for 0s`,
		} {
			r := w.Run(args)
			require.Equal(t, cli.NotDone, r.Code, args)
			fmt.Fprintf(&b, "$ submit %s\n%s", args, r.Text())
		}
		clitest.Golden(t, "usage", b.String())
	})
}

func TestServersThatAreAway(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		t := w.T
		var b strings.Builder
		fmt.Fprintf(&b, "$ (no topic)\n%s", w.Run(`nowhere --id lost --kafka.brokers=localhost:9092`).Text())
		w.Servers.Redis.SetError("NOAUTH Authentication required.")
		fmt.Fprintf(&b, "$ (Redis refuses)\n%s", w.Run(`work`).Text())
		w.Servers.Redis.SetError("")
		redis := w.Run(`work`, func(std *cli.IO) {
			std.RedisDialer = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		})
		require.Equal(t, cli.NotDone, redis.Code)
		require.Contains(t, redis.Err, "submit: Redis does not answer at localhost:6379: ")
		require.Contains(t, redis.Err, "\n  Is it running? Check redis.addrs (--redis.addrs, OFFLINE_REDIS__ADDRS)")
		w.Servers.Broker.Close()
		kafka := w.Run(`work`)
		require.Equal(t, cli.NotDone, kafka.Code)
		require.Contains(t, kafka.Err, "submit: Kafka does not answer at ")
		require.Contains(t, kafka.Err, "\n  Is it running? Check kafka.brokers (--kafka.brokers, OFFLINE_KAFKA__BROKERS)")
		clitest.Golden(t, "away", b.String())
	})
}

func TestHelp(t *testing.T) {
	clitest.In(t, newCommand, func(w *clitest.World) {
		r := w.Run("--help")
		require.Equal(w.T, cli.Done, r.Code)
		for line := range strings.Lines(r.Out) {
			require.LessOrEqual(w.T, len([]rune(strings.TrimRight(line, "\n"))), 80, line)
		}
		clitest.Golden(w.T, "help", r.Text())
	})
}
