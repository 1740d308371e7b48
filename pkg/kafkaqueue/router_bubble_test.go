//go:build synctests

package kafkaqueue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

type routing struct {
	*Router
	stop func()

	mu      sync.Mutex
	refused []task.Delivery
	errs    []error
}

func (w *world) router() *routing {
	w.Helper()
	r := &routing{}
	router, err := NewRouter(w.cfg, func(d task.Delivery, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refused, r.errs = append(r.refused, d), append(r.errs, err)
	})
	require.NoError(w, err)
	r.Router = router
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(w, <-ended)
	})
	w.Cleanup(r.stop)
	return r
}

func (r *routing) all() ([]task.Delivery, []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]task.Delivery(nil), r.refused...), append([]error(nil), r.errs...)
}

// Twelve hours of tasks with every kind of delay: none is early, and each
// arrives within the tick, or within what a node parks by itself.
func TestNothingIsEarlyOrLaterThanTheTick(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		w.router()
		p, c := w.producer(), w.consumer("merge")
		time.Sleep(10 * time.Second)
		rng := rand.New(rand.NewPCG(1, 2))
		due := map[string]time.Time{}
		const n = 400
		for i := range n {
			d := envelope(fmt.Sprint(i))
			delay := time.Duration(rng.Int64N(int64([]time.Duration{6 * time.Second, time.Minute, 10 * time.Minute, 11 * time.Hour}[i%4])))
			d.NotBefore = time.Now().Add(delay).Truncate(time.Millisecond)
			due[d.ID] = d.NotBefore
			if i%2 == 0 {
				require.Nil(t, p.Submit(t.Context(), []task.Delivery{d}))
			} else {
				p.Hop(d, func(err error) { require.NoError(t, err) })
			}
			time.Sleep(time.Duration(rng.Int64N(int64(9 * time.Second))))
		}
		time.Sleep(12 * time.Hour)
		require.Len(t, c.got(), n)
		for id, at := range c.arrivals() {
			late := at.Sub(due[id])
			require.LessOrEqual(t, late, w.cfg.withDefaults().Tick, "task %s", id)
			require.GreaterOrEqual(t, late, -w.cfg.withDefaults().Delays[0], "task %s: a node parks less than the first tier", id)
		}
	}, kfake.NumBrokers(1), kfake.Ports(9092))
}

func TestADelayThatATierHasIsKept(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		w.router()
		p, c := w.producer(), w.consumer("merge")
		due := map[string]time.Time{}
		delays, tick := w.cfg.withDefaults().Delays[:3], w.cfg.withDefaults().Tick
		for i, delay := range delays {
			d := envelope(fmt.Sprint(i))
			d.NotBefore = time.Now().Add(delay).Truncate(time.Millisecond)
			due[d.ID] = d.NotBefore
			require.Nil(t, p.Submit(t.Context(), []task.Delivery{d}))
		}
		time.Sleep(slices.Max(delays) + time.Second)
		require.Len(t, c.got(), len(due))
		for id, at := range c.arrivals() {
			require.WithinRange(t, at, due[id], due[id].Add(tick), "task %s", id)
		}
	}, kfake.NumBrokers(1), kfake.Ports(9092))
}

func TestTheRouterSetsAsideWhatItCannotDeliver(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		r := w.router()
		foreign := w.client()
		for _, headers := range [][]kgo.RecordHeader{
			{header("target", "tasks.nobody"), header("task-id", "a")},
			{header("target", "somebody.elses"), header("task-id", "b")},
			{header("task-id", "c")},
			{header("target", "tasks.merge"), header("attempt", "x")},
			{header("target", "tasks.merge"), header("task-id", "e")},
		} {
			require.NoError(t, foreign.ProduceSync(t.Context(), &kgo.Record{Topic: "tasks.retry.5s", Value: []byte("v"), Headers: headers}).FirstErr())
		}
		c := w.consumer("merge")
		require.Equal(t, "e", c.await(1)[0].ID)
		w.eventually(5*time.Minute, func() bool { ds, _ := r.all(); return len(ds) == 4 }, "four refusals")
		ds, errs := r.all()
		byID := map[string]task.Reason{}
		for i, d := range ds {
			require.Error(t, errs[i])
			require.Equal(t, "v", string(d.Params))
			byID[d.ID] = d.Reason
		}
		require.Equal(t, task.Unroutable, byID["a"])
		require.Equal(t, task.Unroutable, byID["b"])
		require.Equal(t, task.Unroutable, byID["c"])
		time.Sleep(time.Minute)
		require.Less(t, sum(w.committed("offline-nodes.retry.router")["tasks.retry.5s"]), int64(5), "open until settled otherwise")
		for i := range ds {
			r.Finish(&ds[i])
		}
		time.Sleep(time.Second)
		require.EqualValues(t, 5, sum(w.committed("offline-nodes.retry.router")["tasks.retry.5s"]))
	})
}

func TestARouterThatRestartsLosesNothing(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p, c := w.producer(), w.consumer("merge")
		for i := range 50 {
			d := envelope(fmt.Sprint(i))
			d.NotBefore = time.Now().Add(30 * time.Second)
			require.Nil(t, p.Submit(t.Context(), []task.Delivery{d}))
			time.Sleep(time.Second)
		}
		other := w.router()
		for range 4 {
			r := w.router()
			time.Sleep(10 * time.Second)
			w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 2})
			r.stop()
		}
		other.stop()
		w.router()
		w.eventually(3*time.Minute, func() bool { return len(c.got()) >= 50 }, "all")
		time.Sleep(time.Minute)
		seen := map[string]bool{}
		for _, d := range c.got() {
			seen[d.ID] = true
		}
		require.Len(t, seen, 50)
		require.EqualValues(t, 50, sum(w.committed("offline-nodes.retry.router")["tasks.retry.30s"]))
	})
}

func TestALongTierHoldsAFewRecordsOfMany(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		p, c := w.producer(), w.consumer("merge")
		r := w.router()
		tasks := make([]task.Delivery, 5000)
		for i := range tasks {
			tasks[i] = envelope(fmt.Sprint(i))
			tasks[i].NotBefore = time.Now().Add(time.Hour)
		}
		require.Nil(t, p.Submit(t.Context(), tasks))
		time.Sleep(30 * time.Minute)
		open, _, _ := r.member.look(time.Now())
		require.LessOrEqual(t, open, routeRecords)
		require.Empty(t, c.got())
		for at := 0; at < 5000; time.Sleep(time.Second) {
			require.Less(t, time.Since(w.start), 61*time.Minute)
			ds := c.got()
			c.finish(ds[at:])
			at = len(ds)
		}
	})
}
