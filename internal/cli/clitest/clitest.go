// Package clitest runs the command-line programs against a broker, a Redis and
// a node in one bubble of fake time: what they print is the same at every run.
package clitest

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

var update = flag.Bool("update", false, "write what the programs print into testdata")

// Retention is how long outcomes are kept in Redis: fake hours take real
// seconds.
const Retention = 20 * time.Minute

// World is where a program runs.
type World struct {
	T       *testing.T // of the bubble
	Servers *embedded.Servers
	Client  *client.Client

	program func(*cli.IO) *cobra.Command
}

// In runs a test of a program in fake time. Build with -tags synctests.
func In(t *testing.T, program func(*cli.IO) *cobra.Command, test func(w *World)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		servers, err := embedded.Start(t.Context(), embedded.Options{InMemory: true})
		require.NoError(t, err)
		t.Cleanup(servers.Stop)
		w := &World{T: t, Servers: servers, program: program}
		w.Client, err = client.Open(t.Context(), client.Config{Kafka: w.Kafka(), Claims: w.Claims()})
		require.NoError(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
			defer cancel()
			_ = w.Client.Close(ctx) // the test may have stopped the broker
		})
		require.NoError(t, w.Client.Ensure(t.Context(), "work"))
		test(w)
	})
}

// Kafka is how the broker is reached.
func (w *World) Kafka() kafkaqueue.Config {
	return kafkaqueue.Config{
		Brokers: []string{w.Servers.Addresses.Kafka}, Dialer: w.Servers.KafkaDialer,
		Topics: kafkaqueue.Topics{Partitions: 1, Replication: 1}, // so that offsets are the same at every run
	}
}

// Claims is how Redis is reached.
func (w *World) Claims() claims.Config {
	return claims.Config{Addrs: []string{w.Servers.Addresses.Redis}, Dialer: w.Servers.RedisDialer, Retention: Retention}
}

// Node runs tasks of the type "work" until the test ends, or stop is called.
func (w *World) Node(name string, worker task.WorkerFunc, options ...task.Option) (stop func()) {
	w.T.Helper()
	mux := task.NewMux()
	mux.Register("work", worker, options...)
	return w.Serve(node.Config{Name: name, Workers: mux, Version: "v1.2.3"})
}

// Serve runs a node on the world's servers until the test ends, or stop is called. It returns when the node is ready.
func (w *World) Serve(cfg node.Config) (stop func()) {
	w.T.Helper()
	cfg.Kafka, cfg.Claims, cfg.Grace = w.Kafka(), w.Claims(), time.Second
	s, err := node.New(cfg)
	require.NoError(w.T, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.T.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(w.T, s.Run(ctx))
	}()
	stop = func() {
		cancel()
		<-done
	}
	w.T.Cleanup(stop)
	w.Eventually("the node is ready", func() bool { return s.Ready() == nil })
	return stop
}

// Eventually waits a minute of fake time at most.
func (w *World) Eventually(what string, ok func() bool) {
	w.T.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			w.T.Fatalf("not within a minute: %s", what)
		}
	}
}

// Submit publishes a task of the type "work".
func (w *World) Submit(id, params string, options ...task.SubmitOption) {
	w.T.Helper()
	_, err := w.Client.Submit(w.T.Context(), "work", []byte(params), append(options, task.ID(id))...)
	require.NoError(w.T, err)
}

// Ended waits until tasks have ended.
func (w *World) Ended(ids ...string) {
	w.T.Helper()
	for _, id := range ids {
		_, err := w.Client.Wait(w.T.Context(), id, nil)
		require.NoError(w.T, err)
	}
}

// Result is what a program did.
type Result struct {
	Code     cli.Code
	Out, Err string
}

// Text is all of it, for golden files.
func (r Result) Text() string {
	var b strings.Builder
	b.WriteString(r.Out)
	for line := range strings.Lines(r.Err) {
		b.WriteString("! " + line)
	}
	b.WriteString("= " + string('0'+rune(r.Code)) + "\n")
	return b.String()
}

// Option changes what a program has around it.
type Option func(*cli.IO)

// Input is what the program reads.
func Input(text string) Option { return func(std *cli.IO) { std.In = strings.NewReader(text) } }

// Wide makes standard output a terminal of so many columns.
func Wide(columns int) Option { return func(std *cli.IO) { std.Width = columns } }

// Live makes standard error a terminal of so many columns.
func Live(columns int) Option { return func(std *cli.IO) { std.Live = columns } }

// Run runs the program to its end.
func (w *World) Run(args string, options ...Option) Result {
	w.T.Helper()
	return w.RunContext(w.T.Context(), args, options...)
}

// RunContext runs the program until it ends, or until it was told to by the
// end of ctx, as by Ctrl-C.
func (w *World) RunContext(ctx context.Context, args string, options ...Option) Result {
	w.T.Helper()
	var out, errs bytes.Buffer
	std := &cli.IO{
		In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now,
		KafkaDialer: w.Servers.KafkaDialer, RedisDialer: w.Servers.RedisDialer,
		Environ: append(w.Servers.Addresses.Environ(), "OFFLINE_KAFKA__TOPICS__REPLICATION=1", "OFFLINE_KAFKA__TOPICS__PARTITIONS=1"),
	}
	for _, option := range options {
		option(std)
	}
	code := cli.Run(ctx, std, w.program, split(args))
	return Result{Code: code, Out: out.String(), Err: errs.String()}
}

// split takes arguments apart at blanks, but for what is between single quotes.
func split(args string) (list []string) {
	for i, part := range strings.Split(args, "'") {
		if i%2 == 1 {
			list = append(list, part)
			continue
		}
		list = append(list, strings.Fields(part)...)
	}
	return list
}

// What differs from run to run, by some milliseconds or wholly.
var (
	times   = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`)
	numbers = regexp.MustCompile(`"(allocation_id|lease_seconds)":[0-9.]+`)
	beats   = regexp.MustCompile(`lease of [0-9.]+s left|Last beat .*`)
	uuids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// Golden compares what was printed, without what differs from run to run, with
// a file of testdata.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	got = times.ReplaceAllString(got, `"TIME"`)
	got = numbers.ReplaceAllString(got, `"$1":1`)
	got = beats.ReplaceAllString(got, "…")
	got = uuids.ReplaceAllString(got, "00000000-0000-7000-8000-000000000000")
	path := filepath.Join("testdata", name+".txt")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
