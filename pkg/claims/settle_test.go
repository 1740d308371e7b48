package claims

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestSettle(t *testing.T) {
	record := first("t")
	rows := []struct {
		name string
		test func(f *fixture)
	}{
		{"success releases the lease and keeps the token", func(f *fixture) {
			a := f.grant("call", record)
			s := record.settle(a.Lease, task.Success)
			s.Info = (&Info{Type: "test", Result: []byte(`{"ok":true}`), StartedAt: time.UnixMilli(5)}).Encode()
			require.Equal(f.t, SettleAnswer{Verdict: Done, Status: task.Success}, f.settle(s))
			st := f.state("t")
			require.Equal(f.t, task.Success, st.Status)
			require.Equal(f.t, a.AllocationID, st.AllocationID)
			require.False(f.t, st.Published)
			require.JSONEq(f.t, `{"ok":true}`, string(st.Result))
			require.True(f.t, st.StartedAt.Equal(time.UnixMilli(5)))
			require.Negative(f.t, f.leaseLeft("t"))
			require.InDelta(f.t, f.cfg.Retention.Seconds(), f.stateTTL("t").Seconds(), 60)
		}},
		{"the same settlement again is done again, without effect", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Success)
			require.Equal(f.t, Done, f.settle(s).Verdict)
			f.published("t")
			require.Equal(f.t, SettleAnswer{Verdict: Done, Status: task.Success}, f.settle(s))
			require.True(f.t, f.state("t").Published)
		}},
		{"the first settlement of a claim counts", func(f *fixture) {
			lease := f.grant("call", record).Lease
			require.Equal(f.t, Done, f.settle(record.settle(lease, task.Success)).Verdict)
			require.Equal(f.t, SettleAnswer{Verdict: Done, Status: task.Success}, f.settle(record.settle(lease, task.Failed)))
		}},
		{"a retry is the next attempt and is owed", func(f *fixture) {
			s := record.retry(f.grant("call", record).Lease)
			s.NotBefore = time.Now().Add(time.Minute)
			require.Equal(f.t, SettleAnswer{Verdict: Done, Status: task.Unassigned}, f.settle(s))
			require.Equal(f.t, Done, f.settle(s).Verdict)
			st := f.state("t")
			require.Equal(f.t, 2, st.Attempt)
			require.False(f.t, st.Published)
			require.WithinDuration(f.t, s.NotBefore, st.NotBefore, time.Millisecond)
			require.Equal(f.t, time.Duration(-1), f.stateTTL("t"))
		}},
		{"an interruption owes nothing and counts no attempt", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Unassigned)
			s.Interrupted = true
			require.Equal(f.t, Done, f.settle(s).Verdict)
			require.Equal(f.t, Done, f.settle(s).Verdict, "again")
			st := f.state("t")
			require.Equal(f.t, 1, st.Interrupted)
			require.Equal(f.t, 1, st.Attempt)
			require.True(f.t, st.Published)
			a := f.grant("call2", record)
			require.Equal(f.t, 1, a.State.Interrupted)
			require.Equal(f.t, 0, a.State.Lost)
			f.settle(record.retry(a.Lease))
			require.Equal(f.t, 0, f.grant("call3", record.at(0, 2, 0)).State.Interrupted, "the next attempt counts anew")
		}},
		{"an interruption keeps what a hop owes", func(f *fixture) {
			lease := f.grant("call", record).Lease
			require.Equal(f.t, 1, f.hop(record.hop(lease)).Hop)
			s := record.settle(lease, task.Unassigned)
			s.Interrupted = true
			require.Equal(f.t, Done, f.settle(s).Verdict)
			require.Equal(f.t, 1, f.state("t").Hop)
			f.age("t", time.Hour)
			require.Equal(f.t, Owed, f.claim("other", "call2", record).Verdict)
			require.Equal(f.t, Granted, f.claim("other", "call3", record.at(0, 1, 1)).Verdict)
		}},
		{"failure shows among the failed", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Failed)
			s.Reason = task.RetriesExhausted
			f.settle(s)
			require.Equal(f.t, task.RetriesExhausted, f.state("t").Reason)
			list, next, err := f.List(f.ctx(), Filter{Statuses: []task.Status{task.Failed}}, "", 10)
			require.NoError(f.t, err)
			require.Empty(f.t, next)
			require.Len(f.t, list, 1)
		}},
		{"stale: another claim", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Success)
			f.expire("t")
			f.grant("call2", record)
			require.Equal(f.t, Stale, f.settle(s).Verdict)
			require.Equal(f.t, task.Assigned, f.state("t").Status)
			require.Positive(f.t, f.leaseLeft("t"))
		}},
		{"stale: another claim, whose state is not there", func(f *fixture) {
			mine := f.grant("call", record).Lease
			f.expire("t")
			theirs := f.grant("call2", record).Lease
			require.EqualValues(f.t, 1, f.raw.Del(f.ctx(), f.keys.state(Bucket("t"), "t")).Val())
			s := record.settle(mine, task.Success)
			s.Fresh = true
			require.Equal(f.t, Stale, f.settle(s).Verdict)
			require.Equal(f.t, theirs, f.raw.Get(f.ctx(), f.keys.lease(Bucket("t"), "t")).Val())
		}},
		{"stale: claimed and settled by another since", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Success)
			f.expire("t")
			f.settle(record.settle(f.grant("call2", record).Lease, task.Failed))
			s.Fresh = true
			require.Equal(f.t, Stale, f.settle(s).Verdict)
			require.Equal(f.t, task.Failed, f.state("t").Status)
		}},
		{"the lease is gone but nobody claimed since", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Success)
			f.expire("t")
			require.Equal(f.t, Done, f.settle(s).Verdict)
		}},
		{"Redis forgot it: a fresh claim may write it", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Success)
			f.forget()
			s.Fresh = true
			require.Equal(f.t, Done, f.settle(s).Verdict)
			st := f.state("t")
			require.Equal(f.t, uint64(7), st.ParamsHash)
			require.Equal(f.t, 1, st.Attempt)
		}},
		{"stale: Redis forgot it and the claim is old", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Success)
			f.forget()
			require.Equal(f.t, Stale, f.settle(s).Verdict)
			require.Nil(f.t, f.state("t"))
		}},
		{"Redis forgot it and a copy hopped since: the hop's number stays", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Unassigned)
			s.Interrupted, s.Fresh = true, true
			f.forget()
			f.warm()
			require.Equal(f.t, 1, f.hop(record.hop("")).Hop)
			require.Equal(f.t, Done, f.settle(s).Verdict)
			require.Equal(f.t, 1, f.state("t").Hop)
			require.False(f.t, f.state("t").Published)
		}},
		{"an outcome of ours that was read back is ours", func(f *fixture) {
			a := f.grant("call", record)
			f.forget()
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{{ID: "t", Attempt: 1, Status: task.Success, AllocationID: a.AllocationID}}))
			require.Equal(f.t, Done, f.settle(record.settle(a.Lease, task.Success)).Verdict)
		}},
		{"a request to cancel wins over a failure, a retry and an interruption", func(f *fixture) {
			for n, s := range []Settlement{
				record.settle("", task.Failed), record.retry(""),
				{Status: task.Unassigned, Attempt: 1, Interrupted: true, Info: record.Info},
			} {
				s.ID = name("task-", n)
				ask := first(s.ID)
				s.Lease = f.grant("call", ask).Lease
				_, _, err := f.Cancel(f.ctx(), s.ID, nil)
				require.NoError(f.t, err)
				require.Equal(f.t, SettleAnswer{Verdict: Done, Status: task.Cancelled}, f.settle(s))
				require.Equal(f.t, SettleAnswer{Verdict: Done, Status: task.Cancelled}, f.settle(s))
				st := f.state(s.ID)
				require.Equal(f.t, 1, st.Attempt)
				require.False(f.t, st.Published)
				require.Empty(f.t, st.Reason)
				require.Equal(f.t, 0, st.Interrupted)
			}
		}},
		{"success wins over a request to cancel", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Success)
			_, _, err := f.Cancel(f.ctx(), "t", nil)
			require.NoError(f.t, err)
			require.Equal(f.t, task.Success, f.settle(s).Status)
		}},
		{"a wait for children is free at once and counts as nothing", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Unassigned)
			s.Waiting = true
			require.Equal(f.t, Done, f.settle(s).Verdict)
			st := f.state("t")
			require.Equal(f.t, task.Unassigned, st.Status)
			require.True(f.t, st.Published, "nothing is owed")
			require.Zero(f.t, st.Interrupted)
			again := f.grant("call2", record)
			require.Zero(f.t, again.State.Lost)
			require.Zero(f.t, again.State.Interrupted)
		}},
		{"a state outlives the copies that may still come", func(f *fixture) {
			late := record
			late.NotBefore = time.Now().Add(30 * 24 * time.Hour)
			_, err := f.Submit(f.ctx(), []Submission{{ID: "t", ParamsHash: 7, NotBefore: late.NotBefore}})
			require.NoError(f.t, err)
			_, _, err = f.Cancel(f.ctx(), "t", nil)
			require.NoError(f.t, err)
			require.InDelta(f.t, (30*24 + 12), f.stateTTL("t").Hours(), 1)
		}},
		{"a child's state lives as long as its root's", func(f *fixture) {
			child, root := first("p/1"), first("p")
			parent := f.grant("call", root).Lease
			f.settle(child.settle(f.grant("call", child).Lease, task.Success))
			require.InDelta(f.t, 30*24, f.stateTTL("p/1").Hours(), 1, "while the root has not ended")
			f.settle(root.settle(parent, task.Success))
			f.raw.PExpire(f.ctx(), f.keys.state(Bucket("p"), "p"), 50*time.Hour)
			child2 := first("p/2")
			f.settle(child2.settle(f.grant("call", child2).Lease, task.Success))
			require.InDelta(f.t, 50, f.stateTTL("p/2").Hours(), 1)
			orphan := first("q/1")
			f.settle(orphan.settle(f.grant("call", orphan).Lease, task.Success))
			require.InDelta(f.t, 24, f.stateTTL("q/1").Hours(), 1)
		}},
		{"a task that takes a higher hop settles under it", func(f *fixture) {
			lease := f.grant("call", record).Lease
			require.Equal(f.t, 1, f.hop(record.hop("")).Hop)
			f.settle(record.settle(lease, task.Success))
			require.Equal(f.t, 1, f.state("t").Hop)
		}},
		{"what cannot be is refused", func(f *fixture) {
			answers, err := f.Settle(f.ctx(), []Settlement{
				{ID: "t", Lease: "a|b|00000000000001", Status: task.Active},
				{ID: "t", Lease: "a|b|1", Status: task.Success},
				{ID: "t", Lease: "a|b|0000000000000x", Status: task.Success},
				{ID: "t", Lease: "a|b|00000000000001", Status: task.Success, Interrupted: true},
				{ID: "t", Lease: "a|b|00000000000001", Status: task.Failed, Reason: "because"},
			})
			require.NoError(f.t, err)
			for _, a := range answers {
				require.ErrorIs(f.t, a.Err, ErrInvalid)
			}
		}},
		{"one broken state leaves the others alone", func(f *fixture) {
			s := record.settle(f.grant("call", record).Lease, task.Success)
			f.raw.Set(f.ctx(), f.keys.state(Bucket("broken"), "broken"), "nonsense", 0)
			broken := s
			broken.ID = "broken"
			answers, err := f.Settle(f.ctx(), []Settlement{broken, s})
			require.NoError(f.t, err)
			require.Error(f.t, answers[0].Err)
			require.Equal(f.t, Done, answers[1].Verdict)
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
