package testkit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

// Kafka returns the bootstrap addresses of a broker that tests share. Topics are not created on demand.
func Kafka(t testing.TB) []string {
	t.Helper()
	return strings.Split(shared(t, servers.Kafka), ",")
}

// Redis returns the address, host:port, of a Redis server that tests share. It appends to its file each second and
// evicts nothing.
func Redis(t testing.TB) string {
	t.Helper()
	return shared(t, servers.Redis)
}

// SkipIfShort leaves a test out of runs with -short or OFFLINE_TEST_SHORT=1. Everything here that needs a real server
// calls it.
func SkipIfShort(t testing.TB) {
	t.Helper()
	if testing.Short() || os.Getenv("OFFLINE_TEST_SHORT") == "1" {
		sayOnce("short", "tests with real servers are left out (-short)")
		t.Skip("needs a real server; left out by -short")
	}
}

// shared returns the value of the environment variable that names a server of this kind, or would name it.
func shared(t testing.TB, kind servers.Kind) string {
	t.Helper()
	SkipIfShort(t)
	if given := servers.FromVariable(kind); given != "" {
		sayOnce(string(kind), "the environment names "+string(kind)+" at "+withoutKeys(given))
		return given
	}
	answer, err := supervisor.ask(kind)
	if err != nil {
		t.Fatalf("%s for this test: %v", kind, err)
	}
	sayOnce(string(kind), answer.Says)
	return answer.Value
}

func withoutKeys(endpoint string) string {
	if _, after, found := strings.Cut(endpoint, "@"); found {
		return after
	}
	return endpoint
}

var said sync.Map

// sayOnce writes a line once per test binary, whichever test is first.
func sayOnce(about, line string) {
	if _, before := said.LoadOrStore(about, true); !before {
		fmt.Fprintf(os.Stderr, "testkit: %s: %s\n", strings.TrimSuffix(filepath.Base(os.Args[0]), ".test"), line)
	}
}

// supervisor is this test binary run a second time, as the owner of its servers. A process of its own notices the end of
// the tests whatever brings it about, and leaves no goroutine in the tests' process, where each would look like a leak.
var supervisor owner

type owner struct {
	mu      sync.Mutex
	to      io.Writer
	answers *bufio.Scanner
	err     error
}

type answer struct {
	Value, Says, Error string
}

// ask has the supervisor start a server of this kind, unless it did so before.
func (o *owner) ask(kind servers.Kind) (answer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to == nil && o.err == nil {
		o.err = o.start()
	}
	if o.err != nil {
		return answer{}, o.err
	}
	if _, err := fmt.Fprintln(o.to, kind); err != nil {
		return answer{}, fmt.Errorf("ask the servers' owner: %w", err)
	}
	if !o.answers.Scan() {
		return answer{}, errors.Join(errOwnerGone, o.answers.Err())
	}
	var got answer
	if err := json.Unmarshal(o.answers.Bytes(), &got); err != nil {
		return answer{}, fmt.Errorf("read the servers' owner: %w", err)
	}
	if got.Error != "" {
		return answer{}, errors.New(got.Error)
	}
	return got, nil
}

var errOwnerGone = errors.New("the servers' owner is gone")

// start runs the supervisor. Nobody waits for it: it ends when the pipe to it closes, which the end of this process does.
func (o *owner) start() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find test binary: %w", err)
	}
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = append(os.Environ(), superviseVariable+"=1")
	cmd.SysProcAttr = servers.OwnGroup()
	to, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the servers' owner: %w", err)
	}
	o.to, o.answers = to, bufio.NewScanner(from)
	return nil
}
