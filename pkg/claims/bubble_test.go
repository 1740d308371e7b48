package claims

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// inBubble runs a test in fake time, against a fake server without a socket.
func inBubble(t *testing.T, test func(f *fixture, m *miniredis.Miniredis, wire *line)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := miniredis.NewMiniRedis()
		defer m.Close()
		m.ClockTTL(true)
		wire := &line{server: m}
		store, err := Open(t.Context(), Config{Dialer: wire.dial, Prefix: "t:"})
		require.NoError(t, err)
		defer store.Close()
		f := (&fixture{Store: store, t: t, raw: store.client}).warm()
		test(f, m, wire)
	})
}

// line is what connects a store with a fake server.
type line struct {
	server *miniredis.Miniredis
	conns  []net.Conn
}

func (l *line) dial(context.Context, string, string) (net.Conn, error) {
	conn, err := l.server.Dial()
	l.conns = append(l.conns, conn)
	return conn, err
}

// cut breaks every connection.
func (l *line) cut() {
	for _, conn := range l.conns {
		_ = conn.Close()
	}
}

func TestALeaseEndsUnlessItIsRenewed(t *testing.T) {
	inBubble(t, func(f *fixture, _ *miniredis.Miniredis, _ *line) {
		t := f.t
		record := first("t")
		a := f.grant("call", record)
		asked := time.Now()
		for range 100 {
			time.Sleep(f.cfg.Beat)
			require.Equal(t, Kept, f.beat(record.beat(a.Lease)))
			require.Equal(t, Held, f.claim("other", "call2", record).Verdict)
		}
		require.Equal(t, 100*f.cfg.Beat, time.Since(asked))
		held := f.claim("other", "call3", record)
		time.Sleep(held.Wait)
		b := f.claim("other", "call4", record)
		require.Equal(t, Granted, b.Verdict, "after exactly the wait that it was told")
		require.Greater(t, b.AllocationID, a.AllocationID)
	})
}

func TestWhatIsOwedIsHeldForOneBeat(t *testing.T) {
	inBubble(t, func(f *fixture, _ *miniredis.Miniredis, _ *line) {
		t := f.t
		record := first("t")
		f.settle(record.settle(f.grant("call", record).Lease, task.Success))
		held := f.claim("other", "call2", record)
		require.Equal(t, Held, held.Verdict)
		require.Equal(t, f.cfg.Beat, held.Wait)
		time.Sleep(held.Wait)
		require.Equal(t, Owed, f.claim("other", "call3", record).Verdict)
		time.Sleep(f.cfg.Retention)
		require.Equal(t, Granted, f.claim("other", "call4", record).Verdict, "past its retention nobody knows")
	})
}

func TestAnEarlyTaskIsGrantedAtItsTime(t *testing.T) {
	inBubble(t, func(f *fixture, _ *miniredis.Miniredis, _ *line) {
		t := f.t
		record := first("t")
		record.NotBefore = time.Now().Add(400 * 24 * time.Hour)
		early := f.claim("node", "call", record)
		require.Equal(t, Early, early.Verdict)
		require.Equal(t, 400*24*time.Hour, early.Wait)
		time.Sleep(early.Wait)
		require.Equal(t, Granted, f.claim("node", "call", record).Verdict)
	})
}

func TestRunningTasksLeaveTheIndexByThemselves(t *testing.T) {
	inBubble(t, func(f *fixture, m *miniredis.Miniredis, _ *line) {
		t := f.t
		record := first("t")
		lease := f.grant("call", record).Lease
		f.beat(record.beat(lease))
		running := Filter{Statuses: []task.Status{task.Assigned}}
		require.Len(t, listAll(f, running, 10), 1)
		f.settle(record.settle(lease, task.Success))
		require.Empty(t, listAll(f, running, 10), "listing verifies")
		require.True(t, m.Exists(f.keys.running(Bucket("t"))))
		time.Sleep(3 * f.cfg.Lease)
		other := first("t/1") // of the same bucket
		f.beat(other.beat(f.grant("call2", other).Lease))
		members, err := m.ZMembers(f.keys.running(Bucket("t")))
		require.NoError(t, err)
		require.Equal(t, []string{"t/1"}, members)
	})
}

func TestACallThatIsCutShortByItsContextIsUnknown(t *testing.T) {
	inBubble(t, func(f *fixture, m *miniredis.Miniredis, _ *line) {
		t := f.t
		m.SetError("LOADING Redis is loading the dataset in memory")
		_, err := f.Claim(f.ctx(), "node", "call", []Ask{first("t")})
		require.ErrorContains(t, err, "LOADING")
		_, _, err = f.Cancel(f.ctx(), "t", nil)
		require.ErrorContains(t, err, "LOADING")
		m.SetError("")
		require.Equal(t, Granted, f.claim("node", "call", first("t")).Verdict)
		ctx, cancel := context.WithCancel(f.ctx())
		cancel()
		_, err = f.Beat(ctx, []Beat{first("t").beat("a|b|00000000000001")})
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestWakesComeBackAfterAnOutage(t *testing.T) {
	inBubble(t, func(f *fixture, m *miniredis.Miniredis, wire *line) {
		t := f.t
		ctx, cancel := context.WithCancel(f.ctx())
		woken, done := make(chan string, 10), make(chan error, 1)
		go func() { done <- f.Wakes(ctx, func(id string) { woken <- id }) }()
		synctest.Wait()
		m.Publish(f.keys.wakes(), "one")
		require.Equal(t, "one", <-woken)
		time.Sleep(time.Minute) // silence is no outage
		m.Publish(f.keys.wakes(), "two")
		require.Equal(t, "two", <-woken)
		m.SetError("LOADING Redis is loading the dataset in memory")
		wire.cut()
		time.Sleep(time.Minute)
		m.SetError("")
		time.Sleep(time.Minute)
		m.Publish(f.keys.wakes(), "three")
		require.Equal(t, "three", <-woken)
		cancel()
		require.NoError(t, <-done)
	})
}
