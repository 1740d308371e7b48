//go:build synctests

package kafkaqueue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const mergeGroup = "offline-nodes.merge"

func sum(offsets map[int32]int64) (total int64) {
	for _, at := range offsets {
		total += at
	}
	return total
}

func (r *running) finish(ds []task.Delivery) {
	for i := range ds {
		r.Finish(&ds[i])
	}
}

func TestEveryTaskIsDeliveredAndCommitted(t *testing.T) {
	for _, serverSide := range []bool{false, true} {
		t.Run(fmt.Sprintf("server side balancer %v", serverSide), func(t *testing.T) {
			bubble(t, func(w *world) {
				t := w.T
				w.cfg.ServerSideBalancer = serverSide
				w.topics("merge")
				ids := w.submit(w.producer(), "merge", 100)
				c := w.consumer("merge")
				ds := c.await(100)
				require.ElementsMatch(t, ids, idsOf(ds))
				for i := range ds {
					require.True(t, ds[i].Copied, "all were there before the partition was assigned")
					require.True(t, c.Owned(&ds[i]))
					c.Finish(&ds[i])
				}
				c.stop()
				require.EqualValues(t, 100, sum(w.committed(mergeGroup)["tasks.merge"]))
				for i := range ds {
					require.False(t, c.Owned(&ds[i]))
				}
				w.eventually(time.Second, func() bool { return c.pollEnded() != nil }, "Poll ends too")
				require.ErrorIs(t, c.pollEnded(), ErrClosed)
				require.Less(t, time.Since(w.start), 30*time.Second)
			})
		})
	}
}

func TestRecordsOfTheReturnTopicComeFirst(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		w.submit(p, "merge", 50)
		for i := range 5 {
			p.Hop(task.Delivery{Envelope: task.Envelope{ID: fmt.Sprint("hop-", i), Type: "merge", Attempt: 2, Hop: 7, Checkpoint: []byte("half")}}, func(err error) { require.NoError(t, err) })
		}
		require.NoError(t, p.Close(t.Context()))
		var b []batch
		for _, topic := range []string{"tasks.merge", "tasks.merge.again"} {
			a := newAssignment(topic, 0, 0)
			a.again = topic == "tasks.merge.again"
			b = append(b, batch{assignment: a, records: []*kgo.Record{{Topic: topic}}})
		}
		c, err := NewConsumer(w.cfg, "merge", Hooks{})
		require.NoError(t, err)
		c.ids.known = map[string]string{"tasks.merge": "a", "tasks.merge.again": "b"}
		ds := c.deliver(b)
		require.Equal(t, "tasks.merge.again", ds[0].Origin.Topic)

		for _, d := range w.consumer("merge").await(55) {
			if strings.HasPrefix(d.ID, "hop-") {
				require.True(t, d.Copied)
				require.Equal(t, 2, d.Attempt)
				require.Equal(t, 7, d.Hop)
				require.Equal(t, "half", string(d.Checkpoint))
				require.Equal(t, "merge", d.Type)
			}
		}
	})
}

func TestNewRecordsAreNotCopies(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		c := w.consumer("merge")
		w.submit(p, "merge", 60)
		c.await(60)
		w.submit(p, "merge", 60)
		for _, d := range c.await(120)[60:] {
			require.False(t, d.Copied)
		}
	})
}

// The old owner finishes after the new one has gone on: nothing may rewind.
func TestLateFinishAfterARevokeHasNoEffect(t *testing.T) {
	for _, serverSide := range []bool{false, true} {
		t.Run(fmt.Sprintf("server side balancer %v", serverSide), func(t *testing.T) {
			bubble(t, func(w *world) {
				t := w.T
				w.cfg.ServerSideBalancer = serverSide
				w.topics("merge")
				p := w.producer()
				rewinds := w.watchCommits()
				w.submit(p, "merge", 60)
				for range 60 {
					p.Hop(task.Delivery{Envelope: task.Envelope{ID: task.NewID(), Type: "merge"}}, func(error) {})
				}
				first := w.consumer("merge")
				held := first.await(120)
				second := w.consumer("merge")
				w.eventually(time.Minute, func() bool { first.mu.Lock(); defer first.mu.Unlock(); return len(first.revoked) >= 6 }, "half of twelve partitions revoked")
				w.eventually(time.Minute, func() bool { return len(second.got()) > 0 }, "the second gets them")
				time.Sleep(10 * time.Second)
				second.finish(second.got())
				time.Sleep(2 * time.Second)
				before := w.committed(mergeGroup)
				var moved []task.Delivery
				for i := range held {
					if !first.Owned(&held[i]) {
						moved = append(moved, held[i])
					}
				}
				require.ElementsMatch(t, idsOf(moved), idsOf(second.got()))
				// Half of what moved, in an order that would leave a low watermark.
				first.finish(moved[:len(moved)/2])
				time.Sleep(5 * time.Second)
				require.Equal(t, before, w.committed(mergeGroup))
				first.finish(held)
				time.Sleep(5 * time.Second)
				all := func() int64 {
					at := w.committed(mergeGroup)
					return sum(at["tasks.merge"]) + sum(at["tasks.merge.again"])
				}
				require.EqualValues(t, 120, all())
				first.stop()
				second.stop()
				require.Empty(t, rewinds())
				require.EqualValues(t, 120, all())
			})
		})
	}
}

// watchCommits notes every commit that reaches a broker and returns those
// that went back.
func (w *world) watchCommits() func() []string {
	var mu sync.Mutex
	last, rewinds := map[string]int64{}, []string{}
	ids := map[[16]byte]string{}
	w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, topic := range r.(*kmsg.OffsetCommitRequest).Topics {
			name := topic.Topic
			if name == "" {
				ids[topic.TopicID] = fmt.Sprintf("%x", topic.TopicID)
				name = ids[topic.TopicID]
			}
			for _, p := range topic.Partitions {
				key := fmt.Sprint(name, "/", p.Partition)
				if at, ok := last[key]; ok && p.Offset < at {
					rewinds = append(rewinds, fmt.Sprintf("%s from %d to %d", key, at, p.Offset))
				}
				last[key] = p.Offset
			}
		}
		return true
	}})
	return func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(rewinds) }
}

// 600 rounds of tasks that finish at once on many goroutines while several
// try to commit: what reaches the broker never goes back.
func TestConcurrentFinishesNeverRewind(t *testing.T) {
	const rounds, tasks = 600, 80
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 2
		w.topics("merge")
		p, c := w.producer(), w.consumer("merge")
		rewinds := w.watchCommits()
		for range rounds {
			w.submit(p, "merge", tasks)
			ds := c.next(tasks)
			rand.Shuffle(len(ds), func(i, j int) { ds[i], ds[j] = ds[j], ds[i] })
			var done sync.WaitGroup
			for part := range slices.Chunk(ds, tasks/8) {
				done.Go(func() {
					c.finish(part)
					c.member.commitOnce(context.Background())
				})
			}
			done.Wait()
		}
		require.EqualValues(t, rounds*tasks, sum(w.committed(mergeGroup)["tasks.merge"]))
		require.Empty(t, rewinds())
	})
}

func TestOnlyTheWatermarkIsCommitted(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		w.submit(w.producer(), "merge", 100)
		c := w.consumer("merge")
		ds := c.await(100)
		c.finish(append(ds[:10:10], ds[11:]...))
		time.Sleep(3 * time.Hour)
		require.EqualValues(t, 10, w.committed(mergeGroup)["tasks.merge"][0])
		_, _, age := c.member.look(time.Now())
		require.GreaterOrEqual(t, age, 3*time.Hour)
		c.finish(ds[10:11])
		time.Sleep(time.Second)
		require.EqualValues(t, 100, w.committed(mergeGroup)["tasks.merge"][0])
	})
}

func TestAFullWindowPausesItsPartitionAlone(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions, w.cfg.WindowRecords = 1, 1024
		w.topics("merge")
		p := w.producer()
		const total = 5000
		w.submit(p, "merge", total)
		c := w.consumer("merge")
		time.Sleep(time.Minute)
		held := len(c.got())
		require.LessOrEqual(t, held, 1024)
		require.Greater(t, held, 512)
		_, paused, _ := c.member.look(time.Now())
		require.Equal(t, 1, paused)
		p.Hop(task.Delivery{Envelope: task.Envelope{ID: "due", Type: "merge"}}, func(error) {})
		w.eventually(time.Second, func() bool { return slices.Contains(idsOf(c.got()), "due") }, "the return topic is not paused")
		done := 0
		for done < total+1 {
			ds := c.got()
			open, _, _ := c.member.look(time.Now())
			require.LessOrEqual(t, open, 1024+1)
			c.finish(ds[done:])
			done = len(ds)
			time.Sleep(100 * time.Millisecond)
		}
		require.Len(t, c.got(), total+1, "none twice, none missing")
		c.stop()
		require.EqualValues(t, total, w.committed(mergeGroup)["tasks.merge"][0])
	})
}

func TestALargeWindowPausesByBytes(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions, w.cfg.WindowBytes = 1, 4<<20
		w.topics("merge")
		p := w.producer()
		for i := range 100 {
			require.Nil(t, p.Submit(t.Context(), []task.Delivery{{Envelope: task.Envelope{ID: fmt.Sprint(i), Type: "merge"}, Params: noise(200 << 10)}}))
		}
		c := w.consumer("merge")
		time.Sleep(time.Minute)
		require.Less(t, len(c.got()), 60)
		for i := 0; i < 100; time.Sleep(100 * time.Millisecond) {
			ds := c.got()
			c.finish(ds[i:])
			i = len(ds)
		}
	})
}

// noise does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func TestNewPartitionsAreReadFromTheirStart(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		c := w.consumer("merge")
		ids := w.submit(w.producer(), "merge", 10)
		c.await(10)
		_, err := kadm.NewClient(w.client()).UpdatePartitions(t.Context(), 9, "tasks.merge")
		require.NoError(t, err)
		ids = append(ids, w.submit(w.producer(), "merge", 90)...) // a producer that knows them at once
		w.eventually(3*time.Minute, func() bool { return len(c.got()) >= 100 }, "all records")
		require.ElementsMatch(t, ids, idsOf(c.got()))
		fresh := 0
		for _, d := range c.got() {
			if d.Origin.Partition >= 6 {
				fresh++
			}
		}
		require.Positive(t, fresh)
	})
}

func TestRetentionThatOvertakesTheGroupIsReported(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		p := w.producer()
		w.submit(p, "merge", 10)
		c := w.consumer("merge")
		ds := c.await(10)
		c.finish(ds[:2])
		time.Sleep(time.Second)
		c.stop()
		require.EqualValues(t, 2, w.committed(mergeGroup)["tasks.merge"][0])
		require.NoError(t, w.kafka.DeleteRecords("tasks.merge", 0, 6))
		again := w.consumer("merge")
		require.Equal(t, idsOf(ds[6:]), idsOf(again.await(4)))
		require.Equal(t, []Gap{{Topic: "tasks.merge", From: 2, To: 6}}, again.lost())

		// What is held here and not in the log any more is reported too, once.
		require.NoError(t, w.kafka.DeleteRecords("tasks.merge", 0, 9))
		time.Sleep(3 * time.Minute)
		require.Equal(t, []Gap{{Topic: "tasks.merge", From: 2, To: 6}, {Topic: "tasks.merge", From: 6, To: 9, Held: 3}}, again.lost())
		again.finish(again.got())
		again.stop()
		require.EqualValues(t, 10, w.committed(mergeGroup)["tasks.merge"][0])
	})
}

// Found by a random history: the first record of a partition killed its nodes, and retention took it before anything had
// been committed there; without an offset to compare with, nobody could tell.
func TestRetentionThatTakesTheFirstRecordsIsReported(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		p := w.producer()
		w.submit(p, "merge", 10)
		c := w.consumer("merge")
		ds := c.await(10)
		time.Sleep(time.Second)
		require.EqualValues(t, 0, w.committed(mergeGroup)["tasks.merge"][0])
		require.Contains(t, w.committed(mergeGroup)["tasks.merge"], int32(0), "where it began is committed before anything is finished")
		c.stop()
		require.NoError(t, w.kafka.DeleteRecords("tasks.merge", 0, 6))
		again := w.consumer("merge")
		require.Equal(t, idsOf(ds[6:]), idsOf(again.await(4)))
		require.Equal(t, []Gap{{Topic: "tasks.merge", From: 0, To: 6}}, again.lost())
		again.stop()
	})
}

// A partition that was empty whenever somebody had it: what came later, and went unread, is missed all the same.
func TestRetentionOnAPartitionThatNobodyReadIsReported(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		c := w.consumer("merge")
		time.Sleep(2 * time.Minute)
		require.Contains(t, w.committed(mergeGroup)["tasks.merge"], int32(0), "where it begins is committed")
		c.stop()
		w.submit(w.producer(), "merge", 10)
		require.NoError(t, w.kafka.DeleteRecords("tasks.merge", 0, 10))
		again := w.consumer("merge")
		w.eventually(2*time.Minute, func() bool { return len(again.lost()) > 0 }, "a gap")
		require.Equal(t, []Gap{{Topic: "tasks.merge", From: 0, To: 10}}, again.lost())
		again.stop()
	})
}

func TestAnEmptiedLogIsAGapWithoutAnyRecord(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		p := w.producer()
		w.submit(p, "merge", 10)
		c := w.consumer("merge")
		c.finish(c.await(10)[:3])
		time.Sleep(time.Second)
		c.stop()
		require.NoError(t, w.kafka.DeleteRecords("tasks.merge", 0, 10))
		again := w.consumer("merge")
		w.eventually(2*time.Minute, func() bool { return len(again.lost()) > 0 }, "a gap")
		require.Equal(t, []Gap{{Topic: "tasks.merge", From: 3, To: 10}}, again.lost())
		w.submit(p, "merge", 1)
		again.finish(again.await(1))
		again.stop()
		require.EqualValues(t, 11, w.committed(mergeGroup)["tasks.merge"][0])
		require.Len(t, again.lost(), 1)
	})
}

func TestTransactionsOfForeignProducersAreNoGaps(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		c := w.consumer("merge")
		foreign := w.client(kgo.TransactionalID("theirs"), kgo.DefaultProduceTopic("tasks.merge"))
		for i := range 3 {
			require.NoError(t, foreign.BeginTransaction())
			require.NoError(t, foreign.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr())
			require.NoError(t, foreign.EndTransaction(t.Context(), kgo.TryCommit))
		}
		ds := c.await(3)
		require.Equal(t, "2", string(ds[2].Params))
		c.finish(ds)
		w.eventually(time.Minute, func() bool { return w.committed(mergeGroup)["tasks.merge"][0] == 6 }, "a commit beyond the last marker")
		require.Empty(t, c.lost())
	})
}

func TestATopicThatWasCreatedAnewEndsTheConsumer(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		c := w.consumer("merge")
		w.submit(p, "merge", 10)
		c.await(10)
		require.NoError(t, w.kafka.DeleteTopic("tasks.merge"))
		require.NoError(t, w.kafka.CreateTopic("tasks.merge", 6, nil))
		start := time.Now()
		err := <-c.ended
		require.ErrorIs(t, err, ErrTopicGone)
		require.ErrorContains(t, err, "tasks.merge")
		require.Less(t, time.Since(start), 30*time.Second)
		w.eventually(time.Second, func() bool { return c.pollEnded() != nil }, "Poll ends too")
		require.ErrorIs(t, c.pollEnded(), ErrTopicGone)
		// The producer gets over it.
		w.eventually(time.Minute, func() bool {
			return p.Submit(t.Context(), []task.Delivery{{Envelope: task.Envelope{ID: "x", Type: "merge"}}}) == nil
		}, "a submission to the new topic")
	})
}

func TestADeletedTopicEndsTheConsumer(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		c := w.consumer("merge")
		w.submit(w.producer(), "merge", 10)
		c.await(10)
		require.NoError(t, w.kafka.DeleteTopic("tasks.merge"))
		start := time.Now()
		require.ErrorIs(t, <-c.ended, ErrTopicGone)
		require.Less(t, time.Since(start), 30*time.Second)
	})
}

func TestAConsumerWaitsForItsTopics(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.consumer("merge")
		time.Sleep(10 * time.Minute)
		w.topics("merge")
		w.submit(w.producer(), "merge", 10)
		w.eventually(2*time.Minute, func() bool { return len(c.got()) == 10 }, "the records")
	})
}

func TestCommitsThatFailForTwentyMinutesAreMadeUpFor(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		c := w.consumer("merge")
		faults := w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownServerError, Count: -1})
		for i := range 20 {
			w.submit(p, "merge", 10)
			c.finish(c.await((i + 1) * 10))
			time.Sleep(time.Minute)
		}
		require.Empty(t, w.committed(mergeGroup))
		require.Positive(t, faults.Hits())
		faults.Remove()
		time.Sleep(time.Second)
		require.EqualValues(t, 200, sum(w.committed(mergeGroup)["tasks.merge"]))
		require.Len(t, c.got(), 200)
	})
}

func TestPollErrorsDoNotSpin(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		fault := w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "tasks.merge", Err: kerr.TopicAuthorizationFailed, Count: -1})
		c := w.consumer("merge")
		time.Sleep(10 * time.Minute)
		require.Less(t, fault.Hits(), 10*60*6*4)
		said := 0
		for _, line := range w.log.lines() {
			if strings.Contains(line, "poll failed") {
				said++
			}
		}
		require.Positive(t, said)
		require.Less(t, said, 10*6*3, "not each time")
		fault.Remove()
		w.submit(w.producer(), "merge", 10)
		c.await(10)
		require.Less(t, time.Since(c.LastPoll()), 10*time.Second)
	})
}

func TestASessionTimeoutOutOfBoundsIsSaid(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		w.cfg.SessionTimeout = 2 * time.Second
		w.consumer("merge")
		w.eventually(time.Minute, func() bool {
			return slices.ContainsFunc(w.log.lines(), func(l string) bool { return strings.Contains(l, "INVALID_SESSION_TIMEOUT") })
		}, "a warning")
		a, err := OpenAdmin(w.cfg)
		require.NoError(t, err)
		defer a.Close()
		findings, err := a.Check(t.Context(), []string{"merge"})
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(findings, func(f Finding) bool {
			return f.Severity == SeverityError && strings.Contains(f.What, "group.min.session.timeout.ms")
		}), "%v", findings)
	}, kfake.GroupMinSessionTimeout(6*time.Second))
}

func TestAMemberThatDiesIsReplacedWithinTheSessionTimeout(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		frozen := &freezer{dial: w.net.DialContext}
		cfg := w.cfg
		cfg.Dialer = frozen.DialContext
		first := w.consumerOf(cfg, "merge")
		w.submit(p, "merge", 60)
		held := first.await(60)
		frozen.freeze()
		died := time.Now()
		second := w.consumer("merge")
		w.eventually(time.Minute, func() bool { return len(second.got()) == 60 }, "all records again")
		require.Less(t, time.Since(died), w.cfg.withDefaults().SessionTimeout+5*time.Second)
		second.finish(second.got())
		time.Sleep(2 * time.Second)
		first.finish(held[:7])
		frozen.thaw()
		time.Sleep(time.Minute)
		require.EqualValues(t, 60, sum(w.committed(mergeGroup)["tasks.merge"]))
		for i := range held {
			require.False(t, first.Owned(&held[i]))
		}
		first.stop()
		second.stop()
		require.EqualValues(t, 60, sum(w.committed(mergeGroup)["tasks.merge"]))
	})
}

func TestStoppingWithoutBrokersIsBounded(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		c := w.consumer("merge")
		w.submit(w.producer(), "merge", 10)
		c.finish(c.await(10))
		w.kafka.Fault(kfake.Fault{Count: -1, Err: kerr.NotCoordinator})
		start := time.Now()
		c.stop()
		require.Less(t, time.Since(start), 20*time.Second)
	})
}

// A group that waits for a member which beats but does not join answers nobody for the whole rebalance timeout.
func TestStoppingWhileTheGroupRebalancesIsBounded(t *testing.T) {
	bubble(t, func(w *world) {
		w.topics("merge")
		asked, over := make(chan struct{}, 10), make(chan struct{})
		w.kafka.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
			asked <- struct{}{}
			w.kafka.SleepControl(func() { <-over })
			return nil, nil, false
		})
		defer close(over)
		c := w.consumer("merge")
		<-asked
		began := time.Now()
		c.stop()
		require.LessOrEqual(w, time.Since(began), leaveTimeout+time.Second)
	})
}

func TestRunCancelledBeforeItStarts(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c, err := NewConsumer(w.cfg, "merge", Hooks{})
		require.NoError(t, err)
		require.NoError(t, c.Run(ctx))
		_, err = c.Poll(t.Context())
		require.ErrorIs(t, err, ErrClosed)
		r, err := NewRouter(w.cfg, func(task.Delivery, error) {})
		require.NoError(t, err)
		require.NoError(t, r.Run(ctx))
		l, err := NewListener(w.cfg, ListenerConfig{Group: "g"})
		require.NoError(t, err)
		require.NoError(t, l.Run(ctx, func(context.Context, task.Event) error { return nil }))
	})
}

func TestPollEndsWithItsContext(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		c, err := NewConsumer(w.cfg, "merge", Hooks{})
		require.NoError(t, err)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Poll(short)
		require.ErrorIs(t, err, context.DeadlineExceeded, "Run was not called yet")
		life, end := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(life) }()
		short, cancel2 := context.WithTimeout(t.Context(), time.Second)
		defer cancel2()
		_, err = c.Poll(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		end()
		require.NoError(t, <-ended)
	})
}

func TestForeignClientsRecordIsATaskWithAStableID(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		foreign := w.client()
		sent := &kgo.Record{Topic: "tasks.merge", Key: []byte("k"), Value: []byte("plain")}
		require.NoError(t, foreign.ProduceSync(t.Context(), sent).FirstErr())
		first := w.consumer("merge")
		d := first.await(1)[0]
		require.NoError(t, d.Err)
		require.NoError(t, task.ValidateID(d.ID))
		require.True(t, strings.HasSuffix(d.ID, fmt.Sprintf(".%d.%d", sent.Partition, sent.Offset)), d.ID)
		require.False(t, strings.HasPrefix(d.ID, "tasks.merge"), "the topic's id, not its name")
		require.Equal(t, "plain", string(d.Params))
		first.stop()
		require.Equal(t, d.ID, w.consumer("merge").await(1)[0].ID)
	})
}

func TestABatchThatDoesNotFitIntoMemoryIsSetAside(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		foreign := w.client(kgo.ProducerBatchMaxBytes(200<<20), kgo.BrokerMaxWriteBytes(300<<20), kgo.ProducerBatchCompression(kgo.GzipCompression()))
		c := w.consumer("merge")
		good := w.submit(w.producer(), "merge", 2)
		err := foreign.ProduceSync(t.Context(), &kgo.Record{Topic: "tasks.merge", Value: make([]byte, 65<<20)}).FirstErr()
		require.NoError(t, err)
		good = append(good, w.submit(w.producer(), "merge", 2)...)
		ds := c.await(5)
		var bad []task.Delivery
		for _, d := range ds {
			if d.Err != nil {
				bad = append(bad, d)
			} else {
				require.Contains(t, good, d.ID)
			}
		}
		require.Len(t, bad, 1)
		require.Equal(t, task.TooLarge, bad[0].Reason)
		require.EqualValues(t, 2, bad[0].Origin.Offset)
		c.finish(ds)
		c.stop()
		require.EqualValues(t, 5, w.committed(mergeGroup)["tasks.merge"][0])
		require.Empty(t, c.lost())
	})
}
