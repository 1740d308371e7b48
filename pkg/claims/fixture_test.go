package claims

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a warm store with a prefix of its own, and a client that reaches
// round it.
type fixture struct {
	*Store
	t   *testing.T
	raw redis.UniversalClient
}

// eachRedis runs a test on the fake server and on a real one.
func eachRedis(t *testing.T, test func(f *fixture)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { test(onMiniredis(t).warm()) })
	t.Run("redis-server", func(t *testing.T) { test(onRedis(t).warm()) })
}

func onMiniredis(t *testing.T) *fixture {
	t.Helper()
	m := miniredis.RunT(t)
	m.ClockTTL(true)
	return openFixture(t, Config{Addrs: []string{m.Addr()}})
}

func onRedis(t *testing.T) *fixture {
	t.Helper()
	return openFixture(t, Config{Addrs: []string{testkit.Redis(t)}})
}

func openFixture(t *testing.T, cfg Config) *fixture {
	t.Helper()
	if cfg.Prefix == "" {
		cfg.Prefix = testkit.Name(t) + ":"
	}
	store, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return &fixture{Store: store, t: t, raw: store.client}
}

// warm opens every bucket, as a node does after it read the outcomes back.
func (f *fixture) warm() *fixture {
	f.t.Helper()
	warmAll(f.t, f.Store)
	return f
}

func warmAll(t testing.TB, s *Store) {
	t.Helper()
	cold, err := s.Cold(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.MarkCold(t.Context(), "first", cold.Buckets))
	warmed, err := s.Warm(t.Context(), "first", cold.Buckets)
	require.NoError(t, err)
	require.Len(t, cold.Buckets, warmed)
}

func (f *fixture) ctx() context.Context { return f.t.Context() }

// claim asks once, for one task.
func (f *fixture) claim(claimant, nonce string, ask Ask) Answer {
	f.t.Helper()
	answers, err := f.Claim(f.ctx(), claimant, nonce, []Ask{ask})
	require.NoError(f.t, err)
	return answers[0]
}

// grant claims what must be granted.
func (f *fixture) grant(nonce string, ask Ask) Answer {
	f.t.Helper()
	a := f.claim("node", nonce, ask)
	require.Equal(f.t, Granted, a.Verdict, "%+v", a)
	return a
}

func (f *fixture) beat(b Beat) BeatVerdict {
	f.t.Helper()
	answers, err := f.Beat(f.ctx(), []Beat{b})
	require.NoError(f.t, err)
	require.NoError(f.t, answers[0].Err)
	return answers[0].Verdict
}

func (f *fixture) settle(s Settlement) SettleAnswer {
	f.t.Helper()
	answers, err := f.Settle(f.ctx(), []Settlement{s})
	require.NoError(f.t, err)
	require.NoError(f.t, answers[0].Err)
	return answers[0]
}

func (f *fixture) hop(a HopAsk) HopAnswer {
	f.t.Helper()
	answers, err := f.RaiseHop(f.ctx(), []HopAsk{a})
	require.NoError(f.t, err)
	return answers[0]
}

// published marks whatever the task owes now.
func (f *fixture) published(id string) {
	f.t.Helper()
	st := f.state(id)
	require.NoError(f.t, f.Published(f.ctx(), []Mark{markOf(st)}))
	require.True(f.t, f.state(id).Published)
}

func markOf(st *State) Mark {
	return Mark{ID: st.ID, Replay: st.Replay, Attempt: st.Attempt, Hop: st.Hop, AllocationID: st.AllocationID, Status: st.Status}
}

func (f *fixture) state(id string) *State {
	f.t.Helper()
	states, err := f.States(f.ctx(), []string{id})
	require.NoError(f.t, err)
	return states[0]
}

// allocation is the task's newest allocation id, 0 for none.
func (f *fixture) allocation(id string) int64 {
	raw := f.raw.Get(f.ctx(), f.keys.state(Bucket(id), id)).Val()
	if st, err := decodeHead(id, raw); err == nil {
		return st.AllocationID
	}
	return 0
}

// expire ends a lease as time would.
func (f *fixture) expire(id string) {
	f.t.Helper()
	require.EqualValues(f.t, 1, f.raw.Del(f.ctx(), f.keys.lease(Bucket(id), id)).Val())
}

// age moves a task's last transition into the past.
func (f *fixture) age(id string, by time.Duration) {
	f.t.Helper()
	at := appendTime(nil, f.state(id).At.Add(-by))
	require.NoError(f.t, f.raw.SetRange(f.ctx(), f.keys.state(Bucket(id), id), 18, string(at)).Err())
}

func (f *fixture) leaseLeft(id string) time.Duration {
	f.t.Helper()
	return f.raw.PTTL(f.ctx(), f.keys.lease(Bucket(id), id)).Val()
}

func (f *fixture) stateTTL(id string) time.Duration {
	f.t.Helper()
	return f.raw.PTTL(f.ctx(), f.keys.state(Bucket(id), id)).Val()
}

// forget removes all that the store keeps of its prefix, as FLUSHALL would.
func (f *fixture) forget() {
	f.t.Helper()
	keys, err := f.raw.Keys(f.ctx(), f.cfg.Prefix+"*").Result()
	require.NoError(f.t, err)
	for _, key := range keys {
		require.NoError(f.t, f.raw.Del(f.ctx(), key).Err())
	}
}

// first is the first record of a task.
func first(id string) Ask {
	return Ask{ID: id, Attempt: 1, ParamsHash: 7, Info: (&Info{Type: "test", Node: "node"}).Encode()}
}

// at is the same record with other numbers.
func (a Ask) at(replay, attempt, hop int) Ask {
	a.Replay, a.Attempt, a.Hop = replay, attempt, hop
	return a
}

func (a Ask) beat(lease string) Beat {
	return Beat{ID: a.ID, Lease: lease, Replay: a.Replay, Attempt: a.Attempt, Hop: a.Hop, ParamsHash: a.ParamsHash, NotBefore: a.NotBefore}
}

func (a Ask) settle(lease string, status task.Status) Settlement {
	return Settlement{
		ID: a.ID, Lease: lease, Status: status, Replay: a.Replay, Attempt: a.Attempt, Hop: a.Hop,
		ParamsHash: a.ParamsHash, NotBefore: a.NotBefore, Info: a.Info,
	}
}

// retry is the settlement that asks for the next attempt.
func (a Ask) retry(lease string) Settlement {
	s := a.settle(lease, task.Unassigned)
	s.Attempt, s.Hop = a.Attempt+1, 0
	return s
}

func (a Ask) hop(lease string) HopAsk {
	return HopAsk{ID: a.ID, Replay: a.Replay, Attempt: a.Attempt, Hop: a.Hop, Lease: lease, ParamsHash: a.ParamsHash, Info: a.Info}
}

func name(prefix string, n int) string { return prefix + strconv.Itoa(n) }
