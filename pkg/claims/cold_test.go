package claims

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestAnEmptyRedisIsCold(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *fixture{"miniredis": onMiniredis, "redis-server": onRedis} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			cold, err := f.Cold(f.ctx())
			require.NoError(t, err)
			require.Len(t, cold.Buckets, Buckets)
			require.True(t, cold.Since.IsZero())
			require.Equal(t, Cold, f.claim("node", "call", first("t")).Verdict)

			require.NoError(t, f.MarkCold(f.ctx(), "mine", cold.Buckets))
			require.Equal(t, Cold, f.claim("node", "call", first("t")).Verdict)
			still, err := f.Cold(f.ctx())
			require.NoError(t, err)
			require.Equal(t, cold, still, "a rebuild that was begun and not ended")

			warmed, err := f.Warm(f.ctx(), "another", cold.Buckets)
			require.NoError(t, err)
			require.Zero(t, warmed)
			warmed, err = f.Warm(f.ctx(), "mine", cold.Buckets[:10])
			require.NoError(t, err)
			require.Equal(t, 10, warmed)
			require.NoError(t, f.MarkCold(f.ctx(), "another", cold.Buckets), "what is warm stays warm")
			still, err = f.Cold(f.ctx())
			require.NoError(t, err)
			require.Equal(t, cold.Buckets[10:], still.Buckets)
			warmed, err = f.Warm(f.ctx(), "mine", cold.Buckets)
			require.NoError(t, err)
			require.Equal(t, 10, warmed, "again, without effect")
		})
	}
}

func TestARestartIsNoticedAndSinceIsBeforeTheLastBeat(t *testing.T) {
	server := testkit.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	f := openFixture(t, Config{Addrs: []string{server.Addr}}).warm()
	record := first("t")
	a := f.grant("call", record)
	// The bucket was last touched a while ago; the beat touches it.
	epoch := f.keys.epoch(Bucket("t"))
	longAgo := time.Now().Add(-time.Hour)
	require.NoError(t, f.raw.SetRange(f.ctx(), epoch, 41, string(appendTime(nil, longAgo))).Err())
	require.Equal(t, Kept, f.beat(record.beat(a.Lease)))
	touched, err := strconv.ParseInt(f.raw.Get(f.ctx(), epoch).Val()[41:55], 10, 64)
	require.NoError(t, err)
	require.Greater(t, touched, longAgo.UnixMilli())

	server.Kill()
	_, err = f.Claim(f.ctx(), "node", "call", []Ask{record})
	require.Error(t, err, "unknown")
	server.Restart()

	require.Eventually(t, func() bool {
		answers, err := f.Claim(f.ctx(), "other", "call2", []Ask{record})
		return err == nil && answers[0].Verdict == Cold
	}, 20*time.Second, 10*time.Millisecond)
	cold, err := f.Cold(f.ctx())
	require.NoError(t, err)
	require.Len(t, cold.Buckets, Buckets)
	require.WithinDuration(t, time.UnixMilli(touched).Add(-time.Minute), cold.Since, time.Minute)
	require.Equal(t, Kept, f.beat(record.beat(a.Lease)), "beats go on")
	require.Equal(t, Done, f.settle(record.settle(a.Lease, task.Success)).Verdict, "settlements go on")

	require.NoError(t, f.MarkCold(f.ctx(), "rebuild", cold.Buckets))
	server.Kill()
	server.Restart()
	require.Eventually(t, func() bool {
		warmed, err := f.Warm(f.ctx(), "rebuild", cold.Buckets)
		return err == nil && warmed == 0
	}, 20*time.Second, 10*time.Millisecond, "a restart between mark and warm")
	f.warm()
	f.age("t", time.Hour)
	require.Equal(t, Owed, f.claim("other", "call3", record).Verdict)
}

func TestRestore(t *testing.T) {
	record := first("t")
	outcome := Outcome{ID: "t", Attempt: 1, Status: task.Failed, AllocationID: 1_000, Reason: task.PermanentFailure, At: time.Now().Add(-time.Hour), Info: (&Info{Error: "no"}).Encode()}
	rows := []struct {
		name string
		test func(f *fixture)
	}{
		{"where nothing is", func(f *fixture) {
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{outcome}))
			st := f.state("t")
			require.Equal(f.t, task.Failed, st.Status)
			require.Equal(f.t, task.PermanentFailure, st.Reason)
			require.True(f.t, st.Published)
			require.EqualValues(f.t, 1_000, st.AllocationID)
			require.WithinDuration(f.t, outcome.At, st.At, time.Millisecond)
			require.Equal(f.t, "no", st.Error)
			require.Positive(f.t, f.stateTTL("t"))
			require.Equal(f.t, Settled, f.claim("node", "call", record).Verdict)
			list, _, err := f.List(f.ctx(), Filter{Statuses: []task.Status{task.Failed}}, "", 10)
			require.NoError(f.t, err)
			require.Len(f.t, list, 1)
		}},
		{"over what had not ended, whose token stays the highest", func(f *fixture) {
			a := f.grant("call", record)
			f.expire("t")
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{outcome}))
			st := f.state("t")
			require.Equal(f.t, task.Failed, st.Status)
			require.Equal(f.t, a.AllocationID, st.AllocationID)
			require.Equal(f.t, uint64(7), st.ParamsHash)
		}},
		{"not over a later attempt", func(f *fixture) {
			f.grant("call", record.at(0, 2, 0))
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{outcome}))
			require.Equal(f.t, task.Assigned, f.state("t").Status)
		}},
		{"not over a later replay", func(f *fixture) {
			f.grant("call", record.at(1, 1, 0))
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{outcome}))
			require.Equal(f.t, task.Assigned, f.state("t").Status)
		}},
		{"over a lower replay that ended", func(f *fixture) {
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{outcome}))
			later := outcome
			later.Replay, later.Status, later.Reason = 1, task.Success, ""
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{later}))
			require.Equal(f.t, task.Success, f.state("t").Status)
		}},
		{"the first outcome stays", func(f *fixture) {
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{outcome}))
			second := outcome
			second.Status, second.AllocationID = task.Success, 2_000
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{second}))
			require.Equal(f.t, task.Failed, f.state("t").Status)
		}},
		{"what was read back is published", func(f *fixture) {
			a := f.grant("call", record)
			f.settle(record.settle(a.Lease, task.Failed))
			same := outcome
			same.AllocationID = a.AllocationID
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{same}))
			require.True(f.t, f.state("t").Published)
			require.Positive(f.t, f.stateTTL("t"))
		}},
		{"what no state can hold is left out", func(f *fixture) {
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{{ID: "x", Status: task.Active}, {Status: task.Success}, outcome}))
			require.NotNil(f.t, f.state("t"))
			require.Nil(f.t, f.state("x"))
		}},
	}
	eachRedis(t, func(f *fixture) {
		t := f.t
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				f := &fixture{Store: f.Store, t: t, raw: f.raw}
				f.forget()
				f.warm()
				row.test(f)
			})
		}
	})
}

func TestLock(t *testing.T) {
	eachRedis(t, func(f *fixture) {
		t := f.t
		lock := func(name LockName, claimant string) *Lock {
			l, err := f.Lock(name, claimant)
			require.NoError(t, err)
			return l
		}
		ours := func(ask func(context.Context) (bool, error)) bool {
			is, err := ask(f.ctx())
			require.NoError(t, err)
			return is
		}
		a, b := lock(RebuildLock, "a"), lock(RebuildLock, "b")
		require.False(t, ours(a.Renew), "nobody has it")
		require.True(t, ours(a.Take))
		require.True(t, ours(lock(RebuildLock, "a").Take), "it has it already")
		require.False(t, ours(b.Take))
		require.True(t, ours(a.Renew))
		require.True(t, ours(lock(SchedulerLock, "b").Take), "that is another one")
		require.NoError(t, a.Release(f.ctx()))
		require.True(t, ours(b.Take))
		require.False(t, ours(a.Renew))
		require.NoError(t, a.Release(f.ctx()), "what is not ours stays")
		require.True(t, ours(b.Renew))
		_, err := f.Lock(RebuildLock, "")
		require.ErrorIs(t, err, ErrInvalid)
	})
}

func TestWhereInfoIsRefusedOnlyMissingKeysAreCold(t *testing.T) {
	f := onMiniredis(t).warm()
	epoch := f.raw.Get(f.ctx(), f.keys.epoch(3)).Val()
	require.Equal(t, strings.Repeat("-", 40), epoch[1:41])
	findings := f.Check(f.ctx())
	require.Contains(t, findings, Finding{
		What:     f.cfg.Addrs[0] + ": scripts cannot see which server they run on: a restart or failover is noticed only when all keys are gone",
		Severity: Warning, Advice: "allow the command INFO inside scripts",
	})
}
