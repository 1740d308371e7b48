package claims

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// TestClaimAnswers goes through the table of answers, row by row. Each row
// prepares a task "t" and claims it with the record given.
func TestClaimAnswers(t *testing.T) {
	record := first("t")
	rows := []struct {
		name    string
		prepare func(f *fixture)
		ask     Ask
		verdict Verdict
		check   func(f *fixture, a Answer)
	}{
		{name: "granted: nobody has it", ask: record, verdict: Granted, check: func(f *fixture, a Answer) {
			require.Nil(f.t, a.State)
			st := f.state("t")
			require.Equal(f.t, task.Assigned, st.Status)
			require.Equal(f.t, a.AllocationID, st.AllocationID)
			require.Equal(f.t, "node", st.Holder)
			require.Positive(f.t, st.Lease)
			require.True(f.t, st.Published)
			require.Equal(f.t, uint64(7), st.ParamsHash)
			require.Equal(f.t, "test", st.Type)
			require.WithinDuration(f.t, time.Now(), time.UnixMilli(a.AllocationID), time.Minute)
		}},
		{name: "granted: the same call again", ask: record, verdict: Granted, prepare: func(f *fixture) {
			f.grant("call", record)
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, a.AllocationID, f.state("t").AllocationID)
			require.Equal(f.t, 0, f.state("t").Lost)
			require.Equal(f.t, Kept, f.beat(record.beat(a.Lease)))
		}},
		{name: "granted: the same call, cut short before it wrote the state", ask: record, verdict: Granted, prepare: func(f *fixture) {
			f.grant("call", record)
			f.raw.Del(f.ctx(), f.keys.state(Bucket("t"), "t"))
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, Kept, f.beat(record.beat(a.Lease)))
		}},
		{name: "cold before all else", ask: record, verdict: Cold, prepare: func(f *fixture) {
			f.grant("call", record)
			f.raw.Del(f.ctx(), f.keys.epoch(Bucket("t")))
		}},
		{name: "conflict: other parameters", ask: Ask{ID: "t", Attempt: 1, ParamsHash: 8}, verdict: Conflict, prepare: func(f *fixture) {
			f.grant("other", record)
		}},
		{name: "conflict before owed", ask: Ask{ID: "t", Attempt: 1, ParamsHash: 8}, verdict: Conflict, prepare: func(f *fixture) {
			f.settle(record.settle(f.grant("other", record).Lease, task.Success))
			f.age("t", time.Hour)
		}},
		{name: "no conflict: the record's hash is not known", ask: Ask{ID: "t", Attempt: 1}, verdict: Held, prepare: func(f *fixture) {
			f.grant("other", record)
		}},
		{name: "no conflict: the state's hash is not known", ask: record, verdict: Held, prepare: func(f *fixture) {
			f.grant("other", Ask{ID: "t", Attempt: 1})
		}},
		{name: "held: another call has it", ask: record, verdict: Held, prepare: func(f *fixture) {
			f.grant("other", record)
		}, check: func(f *fixture, a Answer) {
			require.Positive(f.t, a.Wait)
			require.LessOrEqual(f.t, a.Wait, f.cfg.Lease)
		}},
		{name: "held: a remaining time above one lease is cut down", ask: record, verdict: Held, prepare: func(f *fixture) {
			f.grant("other", record)
			f.raw.PExpire(f.ctx(), f.keys.lease(Bucket("t"), "t"), time.Hour)
		}, check: func(f *fixture, a Answer) {
			require.LessOrEqual(f.t, a.Wait, f.cfg.Lease)
			require.LessOrEqual(f.t, f.leaseLeft("t"), f.cfg.Lease)
		}},
		{name: "held: a lease without an end gets one", ask: record, verdict: Held, prepare: func(f *fixture) {
			f.grant("other", record)
			f.raw.Persist(f.ctx(), f.keys.lease(Bucket("t"), "t"))
		}, check: func(f *fixture, _ Answer) {
			require.Positive(f.t, f.leaseLeft("t"))
		}},
		{name: "held: a higher replay meets one that has not ended", ask: record.at(1, 1, 0), verdict: Held, prepare: func(f *fixture) {
			f.settle(record.retry(f.grant("other", record).Lease))
		}},
		{name: "held: a higher replay meets one whose holder vanished", ask: record.at(1, 1, 0), verdict: Held, prepare: func(f *fixture) {
			f.grant("other", record)
			f.expire("t")
		}},
		{name: "held: terminal, younger than a beat", ask: record, verdict: Held, prepare: func(f *fixture) {
			f.settle(record.settle(f.grant("other", record).Lease, task.Success))
		}, check: func(f *fixture, a Answer) {
			require.Positive(f.t, a.Wait)
			require.LessOrEqual(f.t, a.Wait, f.cfg.Beat)
		}},
		{name: "owed: terminal and not known to be published", ask: record, verdict: Owed, prepare: func(f *fixture) {
			s := record.settle(f.grant("other", record).Lease, task.Failed)
			s.Reason = task.PermanentFailure
			f.settle(s)
			f.age("t", time.Hour)
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, task.Failed, a.State.Status)
			require.Equal(f.t, task.PermanentFailure, a.State.Reason)
			require.Equal(f.t, "test", a.State.Type)
		}},
		{name: "owed: terminal, a newer copy asks", ask: record.at(0, 3, 2), verdict: Owed, prepare: func(f *fixture) {
			f.settle(record.settle(f.grant("other", record).Lease, task.Success))
			f.age("t", time.Hour)
		}},
		{name: "owed: terminal at a lower replay", ask: record.at(1, 1, 0), verdict: Owed, prepare: func(f *fixture) {
			f.settle(record.settle(f.grant("other", record).Lease, task.Failed))
			f.age("t", time.Hour)
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, 0, a.State.Replay)
		}},
		{name: "owed: the next attempt may never have been published", ask: record, verdict: Owed, prepare: func(f *fixture) {
			s := record.retry(f.grant("other", record).Lease)
			s.NotBefore = time.Now().Add(time.Minute)
			f.settle(s)
			f.age("t", time.Hour)
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, task.Unassigned, a.State.Status)
			require.Equal(f.t, 2, a.State.Attempt)
			require.WithinDuration(f.t, time.Now().Add(time.Minute), a.State.NotBefore, 10*time.Second)
		}},
		{name: "owed: a hop may never have been published", ask: record, verdict: Owed, prepare: func(f *fixture) {
			f.grant("other", record)
			require.Equal(f.t, 1, f.hop(record.hop("")).Hop)
			f.expire("t")
			f.age("t", time.Hour)
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, 1, a.State.Hop)
		}},
		{name: "settled: terminal and published", ask: record, verdict: Settled, prepare: func(f *fixture) {
			f.settle(record.settle(f.grant("other", record).Lease, task.Success))
			f.published("t")
		}},
		{name: "settled: also for a newer copy", ask: record.at(0, 2, 0), verdict: Settled, prepare: func(f *fixture) {
			f.settle(record.settle(f.grant("other", record).Lease, task.Success))
			f.published("t")
		}},
		{name: "superseded: the next attempt was published", ask: record, verdict: Superseded, prepare: func(f *fixture) {
			f.settle(record.retry(f.grant("other", record).Lease))
			f.published("t")
		}},
		{name: "superseded: a hop was published", ask: record, verdict: Superseded, prepare: func(f *fixture) {
			f.grant("other", record)
			f.hop(record.hop(""))
			f.published("t")
			f.expire("t")
		}},
		{name: "superseded: a later replay is there, whatever it owes", ask: record, verdict: Superseded, prepare: func(f *fixture) {
			later := record.at(1, 1, 0)
			f.settle(later.retry(f.grant("other", later).Lease))
			f.age("t", time.Hour)
		}},
		{name: "early", ask: Ask{ID: "t", Attempt: 1, NotBefore: time.Now().Add(time.Hour)}, verdict: Early, check: func(f *fixture, a Answer) {
			require.Greater(f.t, a.Wait, 50*time.Minute)
			require.LessOrEqual(f.t, a.Wait, time.Hour+time.Minute)
			require.Nil(f.t, f.state("t"))
		}},
		{name: "granted: its time has come", ask: Ask{ID: "t", Attempt: 1, NotBefore: time.Now().Add(-time.Second)}, verdict: Granted},
		{name: "free: a look takes nothing", ask: Ask{ID: "t", Attempt: 1, Look: true}, verdict: Free, check: func(f *fixture, _ Answer) {
			require.Nil(f.t, f.state("t"))
			require.Negative(f.t, f.leaseLeft("t"))
		}},
		{name: "owed: also to a look", ask: Ask{ID: "t", Attempt: 1, Look: true}, verdict: Owed, prepare: func(f *fixture) {
			f.settle(record.settle(f.grant("other", record).Lease, task.Success))
			f.age("t", time.Hour)
		}},
		{name: "granted: submitted before", ask: record, verdict: Granted, prepare: func(f *fixture) {
			_, err := f.Submit(f.ctx(), []Submission{{ID: "t", ParamsHash: 7, Info: (&Info{Explanation: "waiting"}).Encode()}})
			require.NoError(f.t, err)
		}, check: func(f *fixture, a Answer) {
			require.Nil(f.t, a.State, "it was never claimed")
			require.Equal(f.t, "test", f.state("t").Type, "the claim's info takes the place of the submitter's")
		}},
		{name: "granted: the record proves its attempt", ask: record.at(0, 2, 0), verdict: Granted, prepare: func(f *fixture) {
			s := record.retry(f.grant("other", record).Lease)
			s.Info = (&Info{Checkpoint: []byte(`{"n":1}`)}).Encode()
			f.settle(s)
		}, check: func(f *fixture, a Answer) {
			require.JSONEq(f.t, `{"n":1}`, string(a.State.Checkpoint))
			require.Equal(f.t, 0, a.State.Lost)
			require.True(f.t, f.state("t").Published)
		}},
		{name: "granted: a newer record raises the state", ask: record.at(0, 4, 3), verdict: Granted, prepare: func(f *fixture) {
			f.settle(record.retry(f.grant("other", record).Lease))
		}, check: func(f *fixture, _ Answer) {
			st := f.state("t")
			require.Equal(f.t, [3]int{0, 4, 3}, [3]int{st.Replay, st.Attempt, st.Hop})
		}},
		{name: "granted: a higher replay starts anew", ask: record.at(1, 1, 0), verdict: Granted, prepare: func(f *fixture) {
			s := record.settle(f.grant("other", record).Lease, task.Failed)
			s.Info = (&Info{Error: "no"}).Encode()
			f.settle(s)
			f.published("t")
		}, check: func(f *fixture, a Answer) {
			st := f.state("t")
			require.Equal(f.t, 1, st.Replay)
			require.Empty(f.t, st.Error)
			require.Equal(f.t, time.Duration(-1), f.stateTTL("t"), "it has not ended: it has no end")
			require.Equal(f.t, a.AllocationID, st.AllocationID)
		}},
		{name: "granted: other parameters are no conflict at a higher replay", ask: Ask{ID: "t", Replay: 1, Attempt: 1, ParamsHash: 8}, verdict: Granted, prepare: func(f *fixture) {
			f.settle(record.settle(f.grant("other", record).Lease, task.Failed))
			f.published("t")
		}},
		{name: "granted: the holder vanished, which is counted", ask: record, verdict: Granted, prepare: func(f *fixture) {
			lease := f.grant("other", record).Lease
			b := record.beat(lease)
			b.Info = (&Info{Node: "gone", Checkpoint: []byte("3")}).Encode()
			require.Equal(f.t, Kept, f.beat(b))
			f.expire("t")
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, 1, a.State.Lost)
			require.Equal(f.t, "gone", a.State.Node)
			require.Equal(f.t, "3", string(a.State.Checkpoint))
		}},
		{name: "settled by the claim: lost too often", ask: record, verdict: Owed, prepare: func(f *fixture) {
			for n := range f.cfg.MaxLost {
				require.Equal(f.t, n, func() int {
					if a := f.grant(name("n", n), record); a.State != nil {
						return a.State.Lost
					}
					return 0
				}())
				f.expire("t")
			}
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, task.Failed, a.State.Status)
			require.Equal(f.t, task.WorkerLost, a.State.Reason)
			require.Equal(f.t, f.cfg.MaxLost, a.State.Lost)
			require.False(f.t, f.state("t").Published)
			require.Positive(f.t, f.stateTTL("t"))
			require.Negative(f.t, f.leaseLeft("t"))
		}},
		{name: "settled by the claim: its deadline has passed", ask: Ask{ID: "t", Attempt: 1, Deadline: time.Now().Add(-time.Minute)}, verdict: Owed, check: func(f *fixture, a Answer) {
			require.Equal(f.t, task.Failed, a.State.Status)
			require.Equal(f.t, task.Expired, a.State.Reason)
			require.Positive(f.t, a.State.AllocationID)
		}},
		{name: "granted: its deadline is ahead", ask: Ask{ID: "t", Attempt: 1, Deadline: time.Now().Add(time.Minute)}, verdict: Granted},
		{name: "settled by the claim: cancelled while its holder vanished", ask: record, verdict: Owed, prepare: func(f *fixture) {
			f.grant("other", record)
			answer, _, err := f.Cancel(f.ctx(), "t", nil)
			require.NoError(f.t, err)
			require.Equal(f.t, CancelRequested, answer)
			f.expire("t")
		}, check: func(f *fixture, a Answer) {
			require.Equal(f.t, task.Cancelled, a.State.Status)
		}},
		{name: "free: a look does not settle", ask: Ask{ID: "t", Attempt: 1, Deadline: time.Now().Add(-time.Minute), Look: true}, verdict: Free, check: func(f *fixture, _ Answer) {
			require.Nil(f.t, f.state("t"))
		}},
		{name: "failed: numbers that no state can hold", ask: record.at(0, 1, 1_000_000), verdict: Failed, check: func(f *fixture, a Answer) {
			require.ErrorIs(f.t, a.Err, ErrInvalid)
		}},
		{name: "failed: a state of another version", ask: record, verdict: Failed, prepare: func(f *fixture) {
			f.raw.Set(f.ctx(), f.keys.state(Bucket("t"), "t"), "2something", 0)
		}, check: func(f *fixture, a Answer) {
			require.ErrorContains(f.t, a.Err, "unknown format")
		}},
	}
	eachRedis(t, func(f *fixture) {
		t := f.t
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				f := &fixture{Store: f.Store, t: t, raw: f.raw}
				f.forget()
				f.warm()
				if row.prepare != nil {
					row.prepare(f)
				}
				before := f.allocation("t")
				a := f.claim("node", "call", row.ask)
				require.Equal(t, row.verdict, a.Verdict, "%+v", a)
				if a.Verdict == Granted && row.name != "granted: the same call again" {
					require.Greater(t, a.AllocationID, before, "tokens grow")
				}
				if row.check != nil {
					row.check(f, a)
				}
			})
		}
	})
}

func TestClaimJudgesEachTaskByItself(t *testing.T) {
	eachRedis(t, func(f *fixture) {
		t := f.t
		f.grant("other", first("held"))
		f.raw.Set(f.ctx(), f.keys.state(Bucket("broken"), "broken"), "nonsense", 0)
		var asks []Ask
		for n := range 3 * MaxBatch {
			asks = append(asks, first(name("task-", n)))
		}
		asks = append(asks, first("held"), first("broken"), first("twin"), first("twin"), Ask{})
		answers, err := f.Claim(f.ctx(), "node", "call", asks)
		require.NoError(t, err)
		for n := range 3 * MaxBatch {
			require.Equal(t, Granted, answers[n].Verdict)
		}
		rest := answers[3*MaxBatch:]
		require.Equal(t, Held, rest[0].Verdict)
		require.Error(t, rest[1].Err)
		require.Equal(t, Granted, rest[2].Verdict)
		require.Equal(t, Granted, rest[3].Verdict)
		require.Equal(t, rest[2].Lease, rest[3].Lease, "one claim, asked for twice")
		require.ErrorIs(t, rest[4].Err, ErrInvalid)
	})
}

func TestTokensGrowThoughTheClockDoesNot(t *testing.T) {
	eachRedis(t, func(f *fixture) {
		t := f.t
		ahead := time.Now().Add(time.Hour).UnixMilli()
		require.NoError(t, f.Restore(f.ctx(), []Outcome{{ID: "t", Attempt: 1, Status: task.Failed, AllocationID: ahead}}))
		a := f.grant("call", first("t").at(1, 1, 0))
		require.Equal(t, ahead+1, a.AllocationID)
		require.Equal(t, Kept, f.beat(first("t").at(1, 1, 0).beat(a.Lease)))
	})
}

func TestBury(t *testing.T) {
	bury := func(f *fixture, id string) Answer {
		answers, err := f.Bury(f.ctx(), "b", []Burial{{ID: id, Attempt: 1, Reason: task.Undecodable, Info: (&Info{Error: "bad header"}).Encode()}})
		require.NoError(f.t, err)
		return answers[0]
	}
	eachRedis(t, func(f *fixture) {
		t := f.t
		a := bury(f, "unknown")
		require.Equal(t, Owed, a.Verdict)
		require.Equal(t, task.Failed, a.State.Status)
		require.Equal(t, task.Undecodable, a.State.Reason)
		require.Equal(t, "bad header", a.State.Error)
		require.Equal(t, Held, bury(f, "unknown").Verdict, "who asked first publishes it")
		f.published("unknown")
		require.Equal(t, Settled, bury(f, "unknown").Verdict)

		f.grant("other", first("running"))
		require.Equal(t, Held, bury(f, "running").Verdict)
	})
}

func TestNamesThatWouldSpoilALeaseAreRefused(t *testing.T) {
	f := onMiniredis(t)
	for _, bad := range []string{"", "a|b"} {
		_, err := f.Claim(f.ctx(), bad, "nonce", nil)
		require.ErrorIs(t, err, ErrInvalid)
		_, err = f.Claim(f.ctx(), "node", bad, nil)
		require.ErrorIs(t, err, ErrInvalid)
	}
}
