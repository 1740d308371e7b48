//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// load is a kind of task, and how it is to end when nothing kills its nodes.
type load struct {
	name    string
	script  script
	options []task.SubmitOption
	ends    task.Status
}

var loads = []load{
	{name: "quick", script: script{For: 2 * time.Second}, ends: task.Success},
	{name: "short", script: script{For: 20 * time.Second}, ends: task.Success},
	{name: "minutes", script: script{For: 150 * time.Second}, ends: task.Success}, // long enough to be detached
	{name: "flaky", script: script{For: time.Second, Fail: 2}, ends: task.Success},
	{name: "hopeless", script: script{Fail: attempts}, ends: task.Failed},
	{name: "permanent", script: script{For: time.Second, Permanent: true}, ends: task.Failed},
	{name: "later", script: script{For: time.Second}, options: []task.SubmitOption{task.In(50 * time.Second)}, ends: task.Success},
	{name: "effect", script: script{For: 3 * time.Second, Effect: true}, ends: task.Success},
	{name: "killer", script: script{For: time.Second, Kill: true}, ends: task.Failed},
	{name: "bare"},
	{name: "future"},
	{name: "garbage"},
	{name: "twin"},
	{name: "rival"}, // written by others
	{name: "long effect", script: script{For: 90 * time.Second, Effect: true}, ends: task.Success},
}

// actions is everything that can happen. A fault that lasts is undone by
// itself, or when all is healed.
var actions = map[string]func(w *world, s Step){
	"submit": func(w *world, s Step) {
		for _, l := range loads {
			switch {
			case l.name != s.Name:
			case l.ends == 0:
				w.write(l.name)
			default:
				w.submit(l)
			}
		}
	},
	"wait": func(*world, Step) {}, // as a last step: traps and faults last until then
	"join": func(w *world, _ Step) {
		w.obs.disturbs("join", 20*time.Second)
		w.join()
	},
	"leave": func(w *world, s Step) {
		m := w.pick(s.N)
		m.leave()
		w.join()
	},
	"crash": func(w *world, s Step) {
		w.pick(s.N).crash()
		w.replace(s.For)
	},
	"crash at": func(w *world, s Step) {
		m := w.pick(s.N)
		m.arm(s.Name, trap{s.N / 7 % 3, func() {
			m.crash()
			w.replace(s.For)
		}})
	},
	"freeze": func(w *world, s Step) { w.freeze(w.pick(s.N), s.For) },
	"freeze at": func(w *world, s Step) {
		m := w.pick(s.N)
		m.arm(s.Name, trap{s.N / 7 % 3, func() { w.freeze(m, s.For) }})
	},
	"crash at any": func(w *world, s Step) {
		w.trapAll(s.Name, func(m *member) {
			m.crash()
			w.replace(s.For)
		})
	},
	"freeze at any": func(w *world, s Step) {
		w.trapAll(s.Name, func(m *member) { w.freeze(m, s.For) })
	},
	"crash runner": func(w *world, s Step) {
		if m := w.obs.runner(); m != nil {
			m.crash()
			w.replace(s.For)
		}
	},
	"freeze runner": func(w *world, s Step) {
		if m := w.obs.runner(); m != nil {
			w.freeze(m, s.For)
		}
	},
	"late commit": func(w *world, _ Step) { w.lateCommit() },
	"cut": func(w *world, s Step) {
		m := w.pick(s.N)
		end := w.obs.suffers(m)
		which, f := []side{kafka, redis}[s.N/3%2], []fate{refused, silent, deaf}[s.N/5%3]
		both := s.N/11%3 == 0
		m.link.set(which, f)
		if both {
			m.link.set(1-which, f)
		}
		w.later(s.For, func() {
			m.link.set(kafka, delivered)
			m.link.set(redis, delivered)
			end()
		})
	},
	"lose answers": func(w *world, s Step) {
		m := w.pick(s.N)
		end := w.obs.suffers(m)
		m.link.loseAnswers([]side{kafka, redis}[s.N/3%2], 1+s.N/5%4)
		w.later(s.For, func() {
			m.link.loseAnswers(kafka, 0)
			m.link.loseAnswers(redis, 0)
			end()
		})
	},
	"flush": func(w *world, _ Step) {
		w.obs.forgets(w.servers.Redis.FlushAll)
	},
	"restart redis": func(w *world, _ Step) {
		w.obs.forgets(w.servers.RestartRedis)
	},
	"redis loading": func(w *world, s Step) { w.redisError(s, "LOADING Redis is loading the dataset in memory") },
	"redis readonly": func(w *world, s Step) {
		w.redisError(s, "READONLY You can't write against a read only replica. script")
	},
	"commit errors": func(w *world, s Step) {
		w.brokerFault(s, "commit errors", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorNotAvailable, Count: -1})
	},
	"produce answers lost": func(w *world, s Step) {
		w.brokerFault(s, "produce answers lost", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1 + s.N%5})
	},
	"produce refused": func(w *world, s Step) {
		w.brokerFault(s, "produce refused", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	},
	"results refused": func(w *world, s Step) {
		w.brokerFault(s, "results refused", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "tasks.results", Err: kerr.NotEnoughReplicas, Count: -1})
	},
	"move leaders": func(w *world, _ Step) {
		w.obs.disturbs("move leaders", 20*time.Second)
		w.servers.Broker.ShufflePartitionLeaders()
		w.servers.Broker.RehashCoordinators()
	},
	"store loses answers": func(w *world, s Step) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.storeLose = 1 + s.N%3
	},
	"old redis": func(w *world, s Step) { w.loseLastWrites(min(s.For, 10*time.Second)) },
	"redis clock": func(w *world, s Step) {
		w.obs.jumps()
		w.skew.Store(int64([]time.Duration{-time.Hour, -20 * time.Second, 20 * time.Second, time.Minute}[s.N%4]))
		w.later(s.For, func() {
			w.obs.jumps()
			w.skew.Store(1) // 0 would be a clock that was never moved: miniredis cannot go back to it
		})
	},
	"add partition": func(w *world, _ Step) {
		w.obs.disturbs("add partition", 20*time.Second)
		topic := "tasks." + w.typ()
		n := len(w.servers.Broker.PartitionInfos(topic))
		_, err := kadm.NewClient(w.raw).UpdatePartitions(context.Background(), n+1, topic)
		if err != nil {
			w.obs.tell("add partition: %v", err)
		}
	},
	"retention": func(w *world, s Step) {
		topic, partition := "tasks."+w.typ(), int32(s.N%partitions)
		if info := w.servers.Broker.PartitionInfo(topic, partition); info != nil {
			w.obs.retained(topic, partition, info.HighWatermark)
			if err := w.servers.Broker.DeleteRecords(topic, partition, info.HighWatermark); err != nil {
				w.obs.violate("world", "delete records: %v", err)
			}
		}
	},
	"cancel": func(w *world, s Step) {
		if id, ok := w.anyID(s.N); ok {
			w.cancel(id)
		}
	},
	"redrive": func(w *world, _ Step) { w.redrive() },
}

// anyFault is what random histories are made of, some more often than others.
var anyFault = []string{
	"join", "leave", "crash", "crash at", "crash at", "crash at", "freeze", "freeze at", "cut", "cut", "lose answers", "flush", "restart redis",
	"redis loading", "redis readonly", "commit errors", "produce answers lost", "produce refused", "results refused",
	"old redis", "redis clock", "add partition", "retention", "move leaders", "store loses answers", "cancel", "cancel", "redrive",
}

func (w *world) take(s Step) {
	action := actions[s.Do]
	if action == nil {
		w.obs.violate("world", "no action %q", s.Do)
		return
	}
	w.obs.takes(s)
	action(w, s)
}

// submit hands a task in, again and again until it is accepted.
func (w *world) submit(l load) {
	w.mu.Lock()
	id := fmt.Sprintf("%s-%d", l.name[:2], len(w.submitted))
	w.submitted = append(w.submitted, id)
	w.mu.Unlock()
	params, err := task.Encode(l.script)
	if err != nil {
		w.obs.violate("world", "%v", err)
		return
	}
	w.obs.submits(id, l, params)
	w.calls.Go(func() {
		for range 20 {
			_, err := w.client.Submit(context.Background(), w.typ(), params, append(l.options, task.ID(id))...)
			switch {
			case err == nil:
				w.obs.accepted(id)
				return
			case !errors.Is(err, client.ErrUnknown):
				w.obs.violate("world", "submit %s: %v", id, err)
				return
			}
			time.Sleep(time.Second)
		}
	})
}

func (w *world) cancel(id string) {
	w.obs.cancels(id)
	w.calls.Go(func() {
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		if _, err := w.client.Cancel(ctx, id); err != nil {
			w.obs.tell("cancel %s: %v", id, err)
		}
	})
}

// redrive sends every dead letter round again.
func (w *world) redrive() {
	w.calls.Go(func() {
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		plan, err := w.client.Redrive(ctx, client.LetterFilter{}, false)
		if err != nil {
			w.obs.tell("redrive: %v", err)
			return
		}
		for _, p := range plan {
			if p.Err == nil {
				w.obs.redriven(p.ID, p.Replay)
			}
		}
	})
}

// write puts a record into Kafka as a program of others may.
func (w *world) write(kind string) {
	w.mu.Lock()
	n := w.written
	w.written++
	w.mu.Unlock()
	x := &raw{kind: kind, value: fmt.Appendf(nil, "%s %d", kind, n)}
	r := &kgo.Record{Topic: "tasks." + w.typ(), Value: x.value}
	switch kind {
	case "future":
		r.Headers = []kgo.RecordHeader{{Key: "format", Value: []byte("2")}, {Key: "task-id", Value: []byte("from-the-future")}}
	case "garbage":
		r.Headers = []kgo.RecordHeader{{Key: "attempt", Value: []byte{0, 1, 2}}}
	case "twin", "rival":
		id, params, ok := w.obs.someTask(n, kind == "rival")
		if !ok {
			return
		}
		x.id = id
		r.Headers = []kgo.RecordHeader{{Key: "format", Value: []byte("1")}, {Key: "task-id", Value: []byte(id)}}
		if kind == "twin" {
			r.Value, x.value = params, params
		}
	}
	w.calls.Go(func() {
		for {
			if err := w.raw.ProduceSync(context.Background(), r).FirstErr(); err == nil {
				break
			}
			r = &kgo.Record{Topic: r.Topic, Value: r.Value, Headers: r.Headers}
			time.Sleep(time.Second)
		}
		x.place, x.offset = place{r.Topic, r.Partition}, r.Offset
		w.obs.writes(x)
	})
}

// loseLastWrites is a failover to a replica that is a while behind.
func (w *world) loseLastWrites(behind time.Duration) {
	type kept struct {
		value string
		ttl   time.Duration
	}
	old := map[string]kept{}
	r := w.servers.Redis
	for _, key := range r.Keys() {
		if value, err := r.Get(key); err == nil {
			old[key] = kept{value, r.TTL(key)}
		}
	}
	w.calls.Go(func() {
		time.Sleep(behind)
		w.obs.forgets(func() {
			w.servers.RestartRedis()
			for key, k := range old {
				if k.ttl > 0 && k.ttl <= behind {
					continue
				}
				_ = r.Set(key, k.value)
				if k.ttl > 0 {
					r.SetTTL(key, k.ttl-behind)
				}
			}
		})
	})
}

// trapAll lets the first node that takes a step spring the trap.
func (w *world) trapAll(step string, spring func(*member)) {
	var once sync.Once
	for _, m := range w.alive() {
		m.arm(step, trap{0, func() { once.Do(func() { spring(m) }) }})
	}
}

// lateCommit sends the offsets back as a member that has lost its partitions
// and does not know it: the broker asks who commits, not whose they are.
func (w *world) lateCommit() {
	group := "offline-nodes." + w.typ()
	info := w.servers.Broker.GroupInfo(group)
	if info == nil || len(info.Members) == 0 {
		return
	}
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation, r.MemberID = group, info.Epoch, info.Members[0].MemberID
	for topic, parts := range info.Commits {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = topic, w.servers.Broker.TopicInfo(topic).TopicID
		for partition := range parts {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition = partition
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	w.calls.Go(func() {
		answer, err := r.RequestWith(context.Background(), w.raw)
		if err != nil || answer.Topics[0].Partitions[0].ErrorCode != 0 {
			w.obs.violate("world", "late commit: %+v, %v", answer, err)
		}
	})
}

// replace starts a new node after a while.
func (w *world) replace(after time.Duration) {
	w.later(after, func() {
		w.obs.disturbs("join", 20*time.Second)
		w.mu.Lock()
		over := w.over
		w.mu.Unlock()
		if !over {
			w.join()
		}
	})
}

func (w *world) freeze(m *member, d time.Duration) {
	end := w.obs.suffers(m)
	m.link.freeze()
	w.later(d, func() {
		m.link.thaw()
		end()
	})
}

func (w *world) redisError(s Step, message string) {
	end := w.obs.redisAway()
	w.refuse(message)
	w.later(s.For, func() {
		w.refuse("")
		end()
	})
}

// refuse makes Redis answer every command with an error, or none any more. No
// script is under way meanwhile. (miniredis' own SetError would replace our hook.)
func (w *world) refuse(message string) {
	w.servers.Redis.Lock()
	defer w.servers.Redis.Unlock()
	w.refusal.Store(&message)
}

func (w *world) brokerFault(s Step, what string, f kfake.Fault) {
	handle := w.servers.Broker.Fault(f)
	w.obs.disturbs(what, s.For+20*time.Second)
	w.later(s.For, handle.Remove)
}
