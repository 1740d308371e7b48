package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// programs is the folder of the built programs; TestMain fills it.
var programs string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "offline-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	return m.Run()
}

var building sync.Mutex

// build makes a program, for the first test that needs it.
func build(program string) error {
	building.Lock()
	defer building.Unlock()
	if _, err := os.Stat(filepath.Join(programs, program)); err == nil {
		return nil
	}
	out, err := exec.Command("go", "build", "-o", programs+"/", "../../cmd/"+program).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}

// fleet is a set of real servers under a prefix of the test's own, and a
// client that gathers every event.
type fleet struct {
	t      *testing.T
	prefix string
	kafka  []string
	redis  string
	client *client.Client

	mu     sync.Mutex
	events map[string][]task.Event
	arrive chan struct{} // closed and replaced when an event arrives
}

// newFleet uses the shared servers.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	return newFleetOn(t, testkit.Kafka(t), testkit.Redis(t))
}

func newFleetOn(t *testing.T, kafka []string, redis string) *fleet {
	t.Helper()
	f := &fleet{t: t, prefix: testkit.Name(t) + ".", kafka: kafka, redis: redis, events: map[string][]task.Event{}, arrive: make(chan struct{})}
	var err error
	f.client, err = client.Open(t.Context(), client.Config{Kafka: f.kafkaConfig(), Claims: f.claimsConfig()})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = f.client.Close(ctx) // a test may have left Kafka down
	})
	require.NoError(t, f.client.Ensure(t.Context(), "probe"))
	f.listen()
	return f
}

func (f *fleet) kafkaConfig() kafkaqueue.Config {
	return kafkaqueue.Config{Brokers: f.kafka, Prefix: f.prefix, Topics: kafkaqueue.Topics{Partitions: 4, Replication: 1}}
}

func (f *fleet) claimsConfig() claims.Config {
	return claims.Config{Addrs: []string{f.redis}, Prefix: f.prefix}
}

// listen gathers events until the test ends.
func (f *fleet) listen() {
	l, err := f.client.Listener(kafkaqueue.ListenerConfig{Group: f.prefix + "e2e"})
	require.NoError(f.t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- l.Run(ctx, func(_ context.Context, e task.Event) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events[e.TaskID] = append(f.events[e.TaskID], e)
			close(f.arrive)
			f.arrive = make(chan struct{})
			return nil
		})
	}()
	f.t.Cleanup(func() {
		stop()
		require.NoError(f.t, <-done)
	})
}

// outcome waits for the event of a task's replay.
func (f *fleet) outcome(id string, replay int, within time.Duration) task.Event {
	f.t.Helper()
	timeout := time.After(within)
	for {
		f.mu.Lock()
		arrive := f.arrive
		for _, e := range f.events[id] {
			if e.Replay == replay {
				f.mu.Unlock()
				return e
			}
		}
		f.mu.Unlock()
		select {
		case <-arrive:
		case <-timeout:
			state, err := f.client.State(f.t.Context(), id)
			require.FailNow(f.t, "no outcome", "of %s within %s: its state is %+v (%v)", id, within, state, err)
		}
	}
}

// submit publishes one probe.
func (f *fleet) submit(params map[string]any, options ...task.SubmitOption) string {
	f.t.Helper()
	id, err := f.client.Submit(f.t.Context(), "probe", params, options...)
	require.NoError(f.t, err)
	return id
}

// active waits until a task runs, and returns its state.
func (f *fleet) active(id string, within time.Duration, ok func(*claims.State) bool) *claims.State {
	f.t.Helper()
	var last *claims.State
	require.Eventually(f.t, func() bool {
		s, err := f.client.State(f.t.Context(), id)
		if err != nil {
			return false
		}
		last = s
		return s.Status == task.Active && (ok == nil || ok(s))
	}, within, 20*time.Millisecond, "task %s is not active", id)
	return last
}

// process is a program of ours that runs.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	err  error
}

// node starts an offline-node process with further settings, as key=value.
func (f *fleet) node(name string, settings ...string) *process {
	f.t.Helper()
	args := []string{
		"run",
		"--kafka.brokers", strings.Join(f.kafka, ","), "--kafka.prefix", f.prefix,
		"--redis.addrs", f.redis, "--redis.prefix", f.prefix,
		"--kafka.topics.partitions", "4", "--kafka.topics.replication", "1",
		"--node.name", name, "--admin.listen", "", "--log.level", "debug",
	}
	environ := make([]string, len(settings))
	for i, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		environ[i] = "OFFLINE_" + strings.ToUpper(strings.ReplaceAll(key, ".", "__")) + "=" + value
	}
	return f.start("offline-node", environ, args...)
}

// start runs a program until the test ends.
func (f *fleet) start(program string, environ []string, args ...string) *process {
	f.t.Helper()
	require.NoError(f.t, build(program))
	log, err := os.Create(filepath.Join(f.t.TempDir(), program+".log"))
	require.NoError(f.t, err)
	p := &process{t: f.t, log: log, done: make(chan struct{}), cmd: exec.Command(filepath.Join(programs, program), args...)}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), environ...)
	require.NoError(f.t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	f.t.Cleanup(func() {
		p.kill()
		if f.t.Failed() {
			f.t.Logf("%s\n%s", strings.Join(p.cmd.Args, " "), p.tail())
		}
		_ = log.Close()
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) signal(s syscall.Signal) {
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// wait returns the exit code.
func (p *process) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		require.FailNow(p.t, "still running", "%s after %s", p.cmd.Path, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// tail is the end of what the process wrote.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	const most = 8000
	if len(text) > most {
		text = text[bytes.IndexByte(text[len(text)-most:], '\n')+len(text)-most:]
	}
	return string(text)
}
