//go:build synctests

package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/cli/clitest"
	"github.com/offline-nodes/offline-nodes/internal/probe"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// probes runs a node for probes until the test ends.
func (s *session) probes() {
	s.T.Helper()
	mux := task.NewMux()
	probe.Register(mux, task.Slots(16))
	s.Serve(node.Config{Name: "prober", Workers: mux})
}

// auditing runs verify; the result is that of its end.
func (s *session) auditing(ctx context.Context, args string, options ...clitest.Option) <-chan clitest.Result {
	done := make(chan clitest.Result, 1)
	go func() { done <- s.RunContext(ctx, "verify "+args, options...) }()
	return done
}

// running waits for the run's id, as events tell it.
func (s *session) running() (id string) {
	s.T.Helper()
	s.Eventually("a task of the run ends", func() bool {
		err := kafkaqueue.ReadResults(s.T.Context(), s.Kafka(), time.Time{}, func(e task.Event) error {
			id, _, _ = strings.Cut(strings.TrimPrefix(e.TaskID, "verify-"), "-")
			return nil
		})
		return err == nil && id != ""
	})
	return "verify-" + id
}

// forge publishes events.
func (s *session) forge(events ...task.Event) {
	s.T.Helper()
	p, err := kafkaqueue.NewProducer(s.Kafka())
	require.NoError(s.T, err)
	for i := range events {
		said := make(chan error, 1)
		events[i].Type, events[i].CompletedAt = probe.Type, time.Now()
		p.Event(events[i], func(err error) { said <- err })
		require.NoError(s.T, <-said)
	}
	require.NoError(s.T, p.Close(s.T.Context()))
}

func verdictOf(t testing.TB, r clitest.Result) (v verdict) {
	t.Helper()
	require.Equal(t, 1, strings.Count(r.Out, "\n"), r.Out)
	require.NoError(t, json.Unmarshal([]byte(r.Out), &v))
	return v
}

func TestVerifyOfAHealthyFleet(t *testing.T) {
	in(t, func(s *session) {
		require.NoError(s.T, s.Client.Ensure(s.T.Context(), probe.Type))
		s.probes()
		r := s.Run("verify --rate 20 --duration 30s --failing 0.2", clitest.Live(80))
		require.Equal(s.T, cli.Done, r.Code, r.Text())
		require.Regexp(s.T, `(?m)^accepted +600  +of 600 published; 3\ds in all$`, r.Out)
		require.Regexp(s.T, `(?m)^SUCCESS +600  +outcome after \d+ms \(median\), `, r.Out)
		require.Regexp(s.T, `(?m)^lost +0  `, r.Out)
		require.True(s.T, strings.HasSuffix(r.Out, "\nThe promises were kept.\n"), r.Out)
		for line := range strings.Lines(r.Out) {
			require.LessOrEqual(s.T, len(line), 80+1)
		}
		require.Regexp(s.T, `\d+s  \d+ accepted, \d+ outstanding, \d+ ended`, r.Err)

		v := verdictOf(s.T, s.Run("verify --tasks 7 --rate 1000 --json"))
		require.True(s.T, v.Kept)
		require.Equal(s.T, tally{Published: 7, Accepted: 7, Succeeded: 7}, v.tally)
	})
}

func TestVerifyFindsWhatIsLostAndLate(t *testing.T) {
	in(t, func(s *session) {
		require.NoError(s.T, s.Client.Ensure(s.T.Context(), probe.Type))
		r := s.Run("verify --tasks 12 --rate 100 --wait 10s")
		require.Equal(s.T, cli.Failed, r.Code, r.Text())
		require.Regexp(s.T, `(?m)^lost +12  +accepted, and no outcome$`, r.Out)
		require.Contains(s.T, r.Out, "A PROMISE WAS BROKEN.\n")
		require.Regexp(s.T, `(?m)^lost: verify-\w+-0: UNASSIGNED waits for a node$`, r.Out)
		require.Contains(s.T, r.Out, "\nlost: 2 more\n")

		done := s.auditing(s.T.Context(), "--tasks 5 --rate 100 --late 20s --json")
		time.Sleep(25 * time.Second)
		s.probes()
		v := verdictOf(s.T, <-done)
		require.True(s.T, v.Kept)
		require.Equal(s.T, tally{Published: 5, Accepted: 5, Succeeded: 5, Late: 5}, v.tally)
		require.Greater(s.T, v.WorstSeconds, 25.0)
	})
}

func TestVerifyTellsRepeatsFromSecondOutcomes(t *testing.T) {
	in(t, func(s *session) {
		require.NoError(s.T, s.Client.Ensure(s.T.Context(), probe.Type))
		s.probes()
		done := s.auditing(s.T.Context(), "--rate 1 --duration 20s")
		run := s.running()
		first, err := s.Client.Wait(s.T.Context(), run+"-0", nil)
		require.NoError(s.T, err)
		again := task.Event{TaskID: run + "-0", Status: task.Success, Attempt: 1, AllocationID: first.AllocationID}
		s.forge(again, again)
		r := <-done
		require.Equal(s.T, cli.Done, r.Code, "a repeated event is allowed\n%s", r.Text())
		require.Regexp(s.T, `(?m)^repeated +2  `, r.Out)

		done = s.auditing(s.T.Context(), "--rate 1 --duration 20s")
		var other string
		s.Eventually("another run", func() bool { other = s.running(); return other != run })
		stale := task.Event{TaskID: other + "-0", Status: task.Failed, Attempt: 1, Node: "zombie"}
		newer := task.Event{TaskID: other + "-0", Status: task.Success, Attempt: 2, AllocationID: 1 << 60, Node: "other"}
		foreign := task.Event{TaskID: other + "-99", Status: task.Failed}
		redriven := task.Event{TaskID: other + "-0", Status: task.Success, Replay: 1}
		s.forge(stale, newer, foreign, redriven)
		r = <-done
		require.Equal(s.T, cli.Failed, r.Code, r.Text())
		require.Regexp(s.T, `(?m)^two outcomes +1$`, r.Out)
		require.Regexp(s.T, `(?m)^stale +1  `, r.Out)
		require.Regexp(s.T, `offlinectl: verify-\w+-0 has a stale outcome: SUCCESS of run \d+ on prober \(attempt 1\), then FAILED of run 0 on zombie`, r.Err)
		require.Contains(s.T, r.Err, "has two outcomes: SUCCESS")
	})
}

func TestVerifyStopsPublishingAndWaitsForTheRest(t *testing.T) {
	in(t, func(s *session) {
		require.NoError(s.T, s.Client.Ensure(s.T.Context(), probe.Type))
		s.probes()
		ctx, interrupt := context.WithCancel(s.T.Context())
		time.AfterFunc(10*time.Second, interrupt)
		r := <-s.auditing(ctx, "--rate 2 --duration 1h --work 20s --json")
		require.Equal(s.T, cli.Done, r.Code, r.Text())
		require.Contains(s.T, r.Err, "waiting for what is outstanding")
		v := verdictOf(s.T, r)
		require.True(s.T, v.Stopped)
		require.InDelta(s.T, 20, v.Accepted, 2)
		require.Equal(s.T, v.Accepted, v.Succeeded)
	})
}

func TestVerifyOutlivesItsServers(t *testing.T) {
	in(t, func(s *session) {
		require.NoError(s.T, s.Client.Ensure(s.T.Context(), probe.Type))
		done := s.auditing(s.T.Context(), "--tasks 20 --rate 1 --wait 30s --json")
		time.Sleep(10 * time.Second)
		s.Servers.Stop()
		r := <-done
		v := verdictOf(s.T, r)
		require.Equal(s.T, cli.Failed, r.Code)
		require.False(s.T, v.Kept)
		require.InDelta(s.T, 10, v.Accepted, 2)
		require.Equal(s.T, 20-v.Accepted, v.Unknown)
		require.Contains(s.T, r.Err, "was not read again")
	})
}

func TestVerifyRefusesWhatMakesNoSense(t *testing.T) {
	in(t, func(s *session) {
		for args, says := range map[string]string{
			"--rate 0":                   "more than 0",
			"--tasks=-1":                 "0 for as many as --duration takes",
			"--duration 0s":              "--duration 0",
			"--rate 9e4 --tasks 1":       "",
			"--failing 2":                "a share is 0 to 1",
			"--duration 9d --rate 50000": "are more than 10000000 tasks",
		} {
			r := s.Run("verify " + args)
			require.Equal(s.T, cli.NotDone, r.Code, "%s\n%s", args, r.Text())
			require.Contains(s.T, r.Err, says, args)
		}
		r := s.Run("verify --tasks 3")
		require.Equal(s.T, cli.NotDone, r.Code)
		require.Contains(s.T, r.Err, "no task was accepted")
		require.Contains(s.T, r.Err, "offlinectl topics ensure TYPE", "there is no topic")
		require.Contains(s.T, s.Run("__complete veri").Out, "verify\t")
		require.Contains(s.T, s.Run("__complete verify --").Out, "--failing\t")
	})
}

func TestALedgerCountsAnOutcomeThatCameBeforeTheAnswer(t *testing.T) {
	l, now := newLedger("run", time.Second), time.Unix(0, 0)
	for _, id := range []string{"run-0", "run-1", "run-2", "run-3"} {
		l.published(id)
	}
	l.heard(&task.Event{TaskID: "run-0", Status: task.Success}, now)
	l.accepted("run-0", now.Add(time.Minute))
	l.accepted("run-1", now)
	l.refused("run-2", errors.New("no topic"))
	require.Equal(t, []string{"run-1"}, l.open())
	require.Equal(t, tally{Published: 4, Accepted: 2, Outstanding: 2, Succeeded: 1, Lost: 1, Unknown: 1, Refused: 1}, l.tally())
	_, _, worst := l.times()
	require.Zero(t, worst)
}
