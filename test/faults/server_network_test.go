package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// onFirst submits probes that run for a while, and returns when the first node, alone until then, runs them and a second
// one has joined.
func onFirst(t *testing.T, f *fleet.Fleet, settings ...string) (held []*claims.State) {
	t.Helper()
	n1 := f.Node("n1", append([]string{"types.probe.slots=16"}, settings...)...)
	_ = n1
	f.Outcome(f.Submit(nil), 0, time.Minute)
	n2 := f.Node("n2", "types.probe.slots=16")
	require.Eventually(t, func() bool {
		nodes, err := f.Client.Nodes(t.Context())
		return err == nil && len(nodes) == 2
	}, time.Minute, 50*time.Millisecond, "%s", n2.Tail())
	for len(held) < 2 {
		id := f.Submit(map[string]any{"for": "30s"})
		if s := f.Active(id, time.Minute, nil); s.Node == "n1" {
			held = append(held, s)
		}
	}
	return held
}

func idsOf(states []*claims.State) (ids []string) {
	for _, s := range states {
		ids = append(ids, s.ID)
	}
	return ids
}

func TestRow33CutFromKafka(t *testing.T) {
	r := begin(t, 33)
	kafka, line := testkit.StartKafkaBehindProxy(t)
	r.on(oneBroker+", one node's way to it by a proxy", oneRedis)
	f := r.fleet(fleet.Servers{Kafka: []string{kafka.Addr}})
	held := onFirst(t, f, "kafka.brokers="+line.Addr)
	work := r.load(f, loadOf{})

	r.strike("one node of two is cut from Kafka, in silence, for a minute")
	line.BlackHole(testkit.ToServer)
	line.BlackHole(testkit.ToClient)
	var fresh []string
	for range 8 { // in all partitions
		fresh = append(fresh, f.Submit(nil))
	}
	for _, id := range fresh {
		f.Outcome(id, 0, time.Minute)
	}
	r.recovered("tasks that were submitted behind it have ended, on the other node")
	for _, s := range held {
		e := f.Outcome(s.ID, 0, time.Minute)
		require.Equal(t, s.AllocationID, e.AllocationID)
	}
	r.checked("tasks that the cut-off node ran ended there, and the other node told so")
	line.Heal()
	work.next(time.Minute)
	r.audit(f, append(append(work.stop(), fresh...), idsOf(held)...))
	work.tell()
}

func TestRow33CutFromRedis(t *testing.T) {
	r := begin(t, 33)
	addr := testkit.Redis(t)
	line := testkit.StartProxy(t, addr)
	r.on(oneBroker, "1 Redis, one node's way to it by a proxy")
	f := r.fleet(fleet.Servers{Redis: []string{addr}})
	held := onFirst(t, f, "redis.addrs="+line.Addr)
	work := r.load(f, loadOf{})

	line.BlackHole(testkit.ToServer)
	line.BlackHole(testkit.ToClient)
	time.Sleep(25 * time.Second) // the fault itself: longer than the lease
	line.Heal()
	r.strike("one node of two is cut from Redis, in silence, for 25 s")
	for _, s := range held {
		claimedAgain(f, s, time.Minute)
	}
	r.recovered("its tasks, whose leases ran out meanwhile, are claimed again")
	for _, s := range held {
		e := f.Outcome(s.ID, 0, time.Minute)
		require.Greater(t, e.AllocationID, s.AllocationID)
		require.Equal(t, 1, e.Attempt, "an interruption is no attempt")
	}
	r.checked("what ran when the lease ran out had no outcome; the later claim's is the only one")
	work.next(time.Minute)
	r.audit(f, append(work.stop(), idsOf(held)...))
	work.tell()
}

func TestRow33CutFromTheStore(t *testing.T) {
	r := begin(t, 33)
	bucket := testkit.S3(t)
	line := testkit.StartProxy(t, bucket.Endpoint[len("http://"):])
	through := bucket
	through.Endpoint = "http://" + line.Addr
	r.on(oneBroker, oneRedis, "1 versitygw, one node's way to it by a proxy")
	f := r.fleet(fleet.Servers{Store: &bucket})
	retry := []string{"node.types=merge", "types.merge.retry.initial=1s", "types.merge.retry.max=2s", "types.merge.retry.max_attempts=20"}
	f.Node("n1", append(retry, fleet.StoreSettings(through)...)...)
	f.Node("n2", retry...)
	d := f.DataNode("d1")
	s := r.shelve(d, "books", 10*time.Millisecond)
	require.Eventually(t, func() bool {
		by := map[string]bool{}
		for _, m := range d.Merges("books") {
			if m.Status == "committed" {
				by[m.Node] = true
			}
		}
		return by["n1"] && by["n2"]
	}, 2*time.Minute, 50*time.Millisecond, "not both nodes merge")

	before, _ := s.merges()
	line.Cut()
	r.strike("one node of two is cut from the store for 20 s")
	require.Eventually(t, func() bool {
		now, _ := s.merges()
		return now >= before+3
	}, time.Minute, 50*time.Millisecond)
	r.recovered("three more merges are committed")
	time.Sleep(max(0, 20*time.Second-time.Since(r.struck))) // the fault itself
	line.Heal()
	s.stop()
	s.settled(2 * time.Minute)
	docs, queries := s.compare()
	r.checked("all %d documents are there once, no deleted one is back; %d queries answer as on a plain index", docs, queries)
}
