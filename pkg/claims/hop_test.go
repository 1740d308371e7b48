package claims

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestRaiseHop(t *testing.T) {
	record := first("t")
	rows := []struct {
		name string
		test func(f *fixture)
	}{
		{"the same record gets the same number until it is published", func(f *fixture) {
			a := f.grant("call", record)
			h := f.hop(record.hop(a.Lease))
			require.Equal(f.t, HopAnswer{Hop: 1, AllocationID: a.AllocationID}, h)
			require.Equal(f.t, h, f.hop(record.hop(a.Lease)))
			require.NoError(f.t, f.Published(f.ctx(), []Mark{{ID: "t", Attempt: 1, Hop: 1, AllocationID: h.AllocationID, Status: task.Unassigned}}))
			require.True(f.t, f.state("t").Published)
			require.True(f.t, f.hop(record.hop("")).Superseded)
			require.Equal(f.t, 2, f.hop(record.at(0, 1, 1).hop("")).Hop, "the copy gets the next")
		}},
		{"takes the newest checkpoint along and keeps the lease", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			b.Info = (&Info{Checkpoint: []byte("42")}).Encode()
			f.beat(b)
			require.Equal(f.t, "42", string(f.hop(record.hop(b.Lease)).Checkpoint))
			require.Equal(f.t, Kept, f.beat(b))
			require.Equal(f.t, Done, f.settle(record.settle(b.Lease, task.Success)).Verdict)
		}},
		{"counts on past 010, which is 8 where a leading zero means octal", func(f *fixture) {
			for hop := range 30 {
				h := f.hop(record.at(0, 1, hop).hop(""))
				require.Equal(f.t, hop+1, h.Hop)
				require.NoError(f.t, f.Published(f.ctx(), []Mark{{ID: "t", Attempt: 1, Hop: h.Hop, AllocationID: h.AllocationID, Status: task.Unassigned}}))
			}
		}},
		{"of a task that Redis does not know", func(f *fixture) {
			require.Equal(f.t, 1, f.hop(record.hop("")).Hop)
			st := f.state("t")
			require.Equal(f.t, task.Unassigned, st.Status)
			require.False(f.t, st.Published)
			require.Equal(f.t, Granted, f.claim("node", "call", record.at(0, 1, 1)).Verdict)
		}},
		{"is no transition of what runs", func(f *fixture) {
			f.grant("call", record)
			f.age("t", time.Minute)
			since := f.state("t").At
			f.hop(record.hop(""))
			require.Equal(f.t, since, f.state("t").At)
		}},
		{"a newer record raises the state", func(f *fixture) {
			f.grant("call", record)
			require.Equal(f.t, 4, f.hop(record.at(0, 2, 3).hop("")).Hop)
			require.Equal(f.t, 2, f.state("t").Attempt)
		}},
		{"superseded: an older record", func(f *fixture) {
			f.grant("call", record.at(0, 2, 0))
			require.True(f.t, f.hop(record.hop("")).Superseded)
		}},
		{"supersedes what is older, although the task runs on", func(f *fixture) {
			a := f.grant("call", record)
			h := f.hop(record.hop(a.Lease))
			require.Equal(f.t, Held, f.claim("other", "call2", record).Verdict, "until its copy is published")
			require.NoError(f.t, f.Published(f.ctx(), []Mark{{ID: "t", Attempt: 1, Hop: 1, AllocationID: h.AllocationID, Status: task.Unassigned}}))
			require.Equal(f.t, Superseded, f.claim("other", "call3", record).Verdict)
			require.Equal(f.t, Held, f.claim("other", "call4", record.at(0, 1, 1)).Verdict, "the copy waits for the lease")
			b := record.beat(a.Lease)
			b.Hop = 1
			require.Equal(f.t, Kept, f.beat(b), "and nothing of that is the holder's business")
		}},
		{"supersedes an older attempt and replay, although the task runs on", func(f *fixture) {
			f.grant("call", record.at(1, 2, 0))
			require.Equal(f.t, Superseded, f.claim("other", "call2", record.at(1, 1, 3)).Verdict)
			require.Equal(f.t, Superseded, f.claim("other", "call3", record.at(0, 4, 0)).Verdict)
			require.Equal(f.t, Held, f.claim("other", "call4", record.at(1, 2, 0)).Verdict)
		}},
		{"superseded: it ended", func(f *fixture) {
			f.settle(record.settle(f.grant("call", record).Lease, task.Success))
			require.True(f.t, f.hop(record.hop("")).Superseded)
		}},
		{"superseded: the claim was lost", func(f *fixture) {
			lease := f.grant("call", record).Lease
			f.expire("t")
			f.grant("call2", record)
			require.True(f.t, f.hop(record.hop(lease)).Superseded)
		}},
		{"a higher replay that waits hops without a trace", func(f *fixture) {
			f.grant("call", record)
			require.Equal(f.t, 1, f.hop(record.at(1, 1, 0).hop("")).Hop)
			require.Equal(f.t, 0, f.state("t").Replay)
			require.Equal(f.t, 0, f.state("t").Hop)
		}},
		{"none while Redis may have forgotten", func(f *fixture) {
			f.raw.Del(f.ctx(), f.keys.epoch(Bucket("t")))
			require.ErrorIs(f.t, f.hop(record.hop("")).Err, ErrCold)
		}},
		{"none is left", func(f *fixture) {
			require.ErrorContains(f.t, f.hop(record.at(0, 1, maxHop).hop("")).Err, "no hop number")
			require.ErrorIs(f.t, f.hop(record.at(0, 1, maxHop+1).hop("")).Err, ErrInvalid)
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

func TestPublishedMarksOnlyWhatItNames(t *testing.T) {
	record := first("t")
	eachRedis(t, func(f *fixture) {
		t := f.t
		a := f.grant("call", record)
		f.hop(record.hop(a.Lease))
		hop := markOf(f.state("t"))
		f.settle(record.settle(a.Lease, task.Success))
		ended := markOf(f.state("t"))
		require.NoError(t, f.Published(f.ctx(), []Mark{hop}))
		require.False(t, f.state("t").Published, "the hop's late mark is not the event's")

		older := ended
		older.AllocationID--
		require.NoError(t, f.Published(f.ctx(), []Mark{older, {ID: "unknown"}}))
		require.False(t, f.state("t").Published)

		require.NoError(t, f.Published(f.ctx(), []Mark{ended}))
		require.True(t, f.state("t").Published)
		require.Positive(t, f.stateTTL("t"), "a mark leaves the time to live alone")
		require.NoError(t, f.Published(f.ctx(), nil))
	})
}

func TestRetryIsOwedUntilItsMark(t *testing.T) {
	record := first("t")
	eachRedis(t, func(f *fixture) {
		t := f.t
		f.settle(record.retry(f.grant("call", record).Lease))
		f.age("t", time.Hour)
		a := f.claim("other", "call2", record)
		require.Equal(t, Owed, a.Verdict)
		require.NoError(t, f.Published(f.ctx(), []Mark{markOf(a.State)}))
		require.Equal(t, Superseded, f.claim("other", "call3", record).Verdict)
	})
}
