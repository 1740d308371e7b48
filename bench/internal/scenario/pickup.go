package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/stats"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

// rates are tasks per second, and for how long they are submitted.
var rates = []struct {
	perSecond int
	seconds   int
}{{1, 20}, {20, 10}, {300, 10}, {1000, 10}}

func rateCase(perSecond int) string { return fmt.Sprintf("%d/s", perSecond) }

func pickup() Scenario {
	return Scenario{
		Turns: 5, QuickTurns: 2,
		Scenario: report.Scenario{
			Number: 2, Name: "pickup", Title: "Idle pickup: from submission to start",
			About: "Tasks that do nothing are submitted one by one, at random moments of an average rate, to one idle worker: the time from before the " +
				"call that submits a task until its handler runs. 20 s at 1/s, 10 s at the higher rates. *CPU* is that of the worker and of the servers together, in percent of one core.",
			Metrics: []report.Metric{
				{Name: "p50", Unit: "ms"},
				{Name: "p95", Unit: "ms"},
				{Name: "p99", Unit: "ms"},
				{Name: "CPU", Unit: "%"},
			},
			Picture: report.Picture{Title: "Submission to start, p50", Metric: "p50", Unit: "ms", Log: true},
			Targets: []report.Target{
				atRates("p50 at most 5 ms at all rates", "p50", 5, 1, 20, 300, 1000),
				atRates("p99 at most 20 ms up to 300/s", "p99", 20, 1, 20, 300),
				atRates("p99 at most 50 ms at 1,000/s", "p99", 50, 1000),
			},
		},
		measure: func(ctx context.Context, r *Run) error {
			specs := []system.Spec{ourBest, ourDefault, asynqBest, asynqDefault, riverBest, riverDefault}
			if r.Quick {
				specs = bestOfEach()
			}
			return r.turns(specs, func(turn int, spec system.Spec) error { return r.pickup(ctx, turn, spec) })
		},
	}
}

// atRates is a target of our best: the worst of the rates counts.
func atRates(text, metric string, most float64, perSecond ...int) report.Target {
	return report.Target{Text: text, Unit: " ms", Reached: func(r *report.Result) (float64, bool) {
		worst := math.NaN()
		for _, n := range perSecond {
			if v := r.Median(rateCase(n), ourBest.String(), metric); !math.IsNaN(v) && !(v <= worst) {
				worst = v
			}
		}
		return worst, worst <= most
	}}
}

func (r *Run) pickup(ctx context.Context, turn int, spec system.Spec) (err error) {
	if err := r.Rig.Clean(ctx); err != nil {
		return err
	}
	b, err := r.openWarm(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	next := 0
	for _, rate := range rates {
		n := rate.perSecond * full(r, rate.seconds, max(2, rate.seconds/5))
		workersBefore, serversBefore, err := b.cpu()
		if err != nil {
			return err
		}
		began := time.Now()
		if err := b.trickle(ctx, next, n, float64(rate.perSecond), nil); err != nil {
			return err
		}
		workers, servers, err := b.cpu()
		if err != nil {
			return err
		}
		cpu := workers + servers - workersBefore - serversBefore
		delays := delays(b.journal, next, next+n, nil)
		kase := rateCase(rate.perSecond)
		for _, p := range []float64{50, 95, 99} {
			r.record(turn, kase, spec, fmt.Sprintf("p%.0f", p), stats.Percentile(delays, p))
		}
		r.record(turn, kase, spec, "CPU", 100*cpu.Seconds()/time.Since(began).Seconds())
		next += n
	}
	return nil
}

// trickle submits tasks first to first+n one by one, at random moments of an average rate, and waits until all have
// started. change, if not nil, makes a task something else than a no-op.
func (b *bench) trickle(ctx context.Context, first, n int, perSecond float64, change func(t *work.Task)) error {
	group, groupCtx := errgroup.WithContext(ctx)
	random := rand.New(rand.NewPCG(uint64(first), uint64(n)))
	began := time.Now()
	for i := range n {
		at := time.Duration((float64(i) + random.Float64()) / perSecond * float64(time.Second))
		if err := pause(groupCtx, at-time.Since(began)); err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error {
			t := work.Task{N: first + i, Pad: work.Pad, Sent: time.Now().UnixNano()}
			if change != nil {
				change(&t)
			}
			return b.queue.Submit(groupCtx, t)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	started := newStarted(b.journal)
	return b.journal.Await(ctx, func() bool { return started.between(first, first+n) >= n })
}

// started follows a journal: which tasks have started at least once.
type started struct {
	journal *rig.Journal
	read    int
	tasks   map[int]bool
}

func newStarted(j *rig.Journal) *started { return &started{journal: j, tasks: map[int]bool{}} }

func (s *started) between(from, to int) int {
	events := s.journal.Events()
	for _, e := range events[s.read:] {
		if e.Kind == work.Start && e.N >= from && e.N < to {
			s.tasks[e.N] = true
		}
	}
	s.read = len(events)
	return len(s.tasks)
}

// delays are the times from submission to the first start, in ms, of tasks from to to that are wanted (nil: all).
func delays(j *rig.Journal, from, to int, wanted func(n int) bool) []float64 {
	first := map[int]float64{}
	for _, e := range j.Events() {
		if e.Kind != work.Start || e.N < from || e.N >= to || (wanted != nil && !wanted(e.N)) {
			continue
		}
		delay := float64(e.At.Sub(e.Sent).Microseconds()) / 1000
		if d, seen := first[e.N]; !seen || delay < d {
			first[e.N] = delay
		}
	}
	all := make([]float64, 0, len(first))
	for _, d := range first {
		all = append(all, d)
	}
	return all
}
