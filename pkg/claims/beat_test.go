package claims

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestBeat(t *testing.T) {
	record := first("t")
	rows := []struct {
		name string
		test func(f *fixture)
	}{
		{"renews", func(f *fixture) {
			lease := f.grant("call", record).Lease
			f.raw.PExpire(f.ctx(), f.keys.lease(Bucket("t"), "t"), time.Second)
			require.Equal(f.t, Kept, f.beat(record.beat(lease)))
			require.Greater(f.t, f.leaseLeft("t"), f.cfg.Lease/2)
			require.Equal(f.t, task.Assigned, f.state("t").Status, "its worker has not reported")
		}},
		{"the first report makes it ACTIVE and is kept", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			b.Active, b.Info = true, (&Info{Type: "test", Note: "half", Fraction: 0.5}).Encode()
			require.Equal(f.t, Kept, f.beat(b))
			st := f.state("t")
			require.Equal(f.t, task.Active, st.Status)
			require.Equal(f.t, "half", st.Note)
			require.InDelta(f.t, 0.5, st.Fraction, 0)
			b.Info = nil
			require.Equal(f.t, Kept, f.beat(b))
			require.Equal(f.t, "half", f.state("t").Note, "a beat without a report leaves the last one")
		}},
		{"puts the lease back after Redis forgot all", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			b.Info = record.Info
			f.forget()
			require.Equal(f.t, Kept, f.beat(b))
			st := f.state("t")
			require.Equal(f.t, task.Assigned, st.Status)
			require.Equal(f.t, "node", st.Holder)
			require.Equal(f.t, "test", st.Type)
			require.Equal(f.t, uint64(7), st.ParamsHash)
			f.warm()
			require.Equal(f.t, Held, f.claim("other", "call2", record).Verdict)
			require.Equal(f.t, Done, f.settle(record.settle(b.Lease, task.Success)).Verdict)
		}},
		{"puts an expired lease back when nobody claimed since", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.expire("t")
			require.Equal(f.t, Kept, f.beat(b))
			require.Equal(f.t, Held, f.claim("other", "call2", record).Verdict)
		}},
		{"puts the lease back though a copy hopped meanwhile", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.forget()
			f.warm()
			require.Equal(f.t, 1, f.hop(record.hop("")).Hop)
			require.Equal(f.t, Kept, f.beat(b))
			st := f.state("t")
			require.Equal(f.t, 1, st.Hop, "the hop's number stays")
			require.False(f.t, st.Published, "and is still owed")
		}},
		{"puts the lease back though the client submitted again meanwhile", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.forget()
			_, err := f.Submit(f.ctx(), []Submission{{ID: "t", ParamsHash: 7}})
			require.NoError(f.t, err)
			require.Equal(f.t, Kept, f.beat(b))
			require.Equal(f.t, task.Assigned, f.state("t").Status)
		}},
		{"lost: somebody else claimed it; the holder takes its count back", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.expire("t")
			require.Equal(f.t, Granted, f.claim("other", "call2", record).Verdict)
			require.Equal(f.t, 1, f.state("t").Lost)
			require.Equal(f.t, Lost, f.beat(b))
			require.Equal(f.t, 0, f.state("t").Lost)
			require.Equal(f.t, Lost, f.beat(b))
			require.Equal(f.t, 0, f.state("t").Lost, "once")
		}},
		{"lost: only the last one that was counted takes its count back", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.expire("t")
			f.grant("call2", record)
			f.expire("t")
			f.grant("call3", record)
			require.Equal(f.t, Lost, f.beat(b))
			require.Equal(f.t, 2, f.state("t").Lost)
		}},
		{"lost: it is settled", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.settle(record.settle(b.Lease, task.Success))
			require.Equal(f.t, Lost, f.beat(b))
			require.Negative(f.t, f.leaseLeft("t"), "a late beat puts nothing back")
		}},
		{"lost: its next attempt was asked for", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.settle(record.retry(b.Lease))
			require.Equal(f.t, Lost, f.beat(b))
			require.Negative(f.t, f.leaseLeft("t"))
		}},
		{"lost: an outcome was read back; the lease goes", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			require.NoError(f.t, f.Restore(f.ctx(), []Outcome{{ID: "t", Attempt: 1, Status: task.Success, AllocationID: 5}}))
			require.Equal(f.t, Lost, f.beat(b))
			require.Negative(f.t, f.leaseLeft("t"))
		}},
		{"a checkpoint that advanced resets the lost count", func(f *fixture) {
			f.grant("call", record)
			f.expire("t")
			b := record.beat(f.grant("call2", record).Lease)
			require.Equal(f.t, 1, f.state("t").Lost)
			b.Reset = true
			require.Equal(f.t, Kept, f.beat(b))
			require.Equal(f.t, 0, f.state("t").Lost)
		}},
		{"tells of a request to cancel", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			_, _, err := f.Cancel(f.ctx(), "t", nil)
			require.NoError(f.t, err)
			require.Equal(f.t, KeptCancel, f.beat(b))
			require.Equal(f.t, KeptCancel, f.beat(b))
		}},
		{"tells a child that its parent was cancelled", func(f *fixture) {
			child := first("p/1/2")
			b := child.beat(f.grant("call", child).Lease)
			require.Equal(f.t, Kept, f.beat(b))
			_, _, err := f.Cancel(f.ctx(), "p", nil)
			require.NoError(f.t, err)
			require.Equal(f.t, KeptCancel, f.beat(b))
			require.Equal(f.t, task.Cancelled, f.settle(child.settle(b.Lease, task.Failed)).Status)
		}},
		{"goes on in a cold bucket, and does not warm it", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.raw.Del(f.ctx(), f.keys.epoch(Bucket("t")))
			require.Equal(f.t, Kept, f.beat(b))
			cold, err := f.Cold(f.ctx())
			require.NoError(f.t, err)
			require.Equal(f.t, []int{Bucket("t")}, cold.Buckets)
		}},
		{"does not touch a bucket that is marked: outcomes are read back since before it was", func(f *fixture) {
			a := f.grant("call", record)
			epoch := f.keys.epoch(Bucket("t"))
			marked := "m" + f.raw.Get(f.ctx(), epoch).Val()[1:41] + "00000000001000mine"
			require.NoError(f.t, f.raw.Set(f.ctx(), epoch, marked, 0).Err())
			require.Equal(f.t, Kept, f.beat(record.beat(a.Lease)))
			require.Equal(f.t, marked, f.raw.Get(f.ctx(), epoch).Val())
		}},
		{"one broken state leaves the others alone", func(f *fixture) {
			b := record.beat(f.grant("call", record).Lease)
			f.raw.Set(f.ctx(), f.keys.state(Bucket("broken"), "broken"), "nonsense", 0)
			broken := b
			broken.ID = "broken"
			answers, err := f.Beat(f.ctx(), []Beat{broken, b, {ID: "t"}})
			require.NoError(f.t, err)
			require.Equal(f.t, Unknown, answers[0].Verdict)
			require.Error(f.t, answers[0].Err)
			require.Equal(f.t, Kept, answers[1].Verdict)
			require.ErrorIs(f.t, answers[2].Err, ErrInvalid)
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
