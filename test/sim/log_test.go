//go:build synctests

package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// logInfo is what Kafka holds.
type logInfo struct {
	next    map[place]int64 // position of the observer, by partition
	records map[string]map[int32][]*logRecord
	byID    map[string][]*logRecord
	events  map[outcomeKey][]event
	letters map[string][]letter // by id
	origins map[string]bool     // topic/partition/offset of what is a dead letter
	commits map[place]int64     // highest, and judged up to there
	starts  map[place]int64     // up to where retention took everything
}

type place struct {
	topic     string
	partition int32
}

// logRecord is a record of a task topic, a return topic or a tier.
type logRecord struct {
	place
	offset int64
	id     string // "" when it has none that can be read
	order  string // replay, attempt, hop, as in a state
	at     time.Time
	bad    bool
}

type event struct {
	task.Event
	at time.Time
}

type letter struct {
	value  []byte
	replay int
	reason string
}

func newLogInfo() logInfo {
	return logInfo{
		next: map[place]int64{}, records: map[string]map[int32][]*logRecord{}, byID: map[string][]*logRecord{},
		events: map[outcomeKey][]event{}, letters: map[string][]letter{}, origins: map[string]bool{}, commits: map[place]int64{}, starts: map[place]int64{},
	}
}

// lookEvery is how often committed offsets are judged.
const lookEvery = 500 * time.Millisecond

// start follows every topic and judges what is committed until the returned
// function is called.
func (o *observer) start(ctx context.Context) (stop func(), err error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.w.servers.Addresses.Kafka), kgo.Dialer(o.w.servers.KafkaDialer),
		kgo.ConsumeTopics(o.topics()...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(5*time.Second), kgo.FetchMaxWait(5*time.Second),
	)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	parts.Go(func() {
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			if len(fetches.Errors()) > 0 && ctx.Err() == nil {
				time.Sleep(50 * time.Millisecond)
			}
			o.mu.Lock()
			fetches.EachRecord(o.read)
			o.mu.Unlock()
		}
	})
	parts.Go(func() {
		for ctx.Err() == nil {
			o.look(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(lookEvery):
			}
		}
	})
	return func() {
		cancel()
		parts.Wait()
		client.Close()
	}, nil
}

// tiers are the delay tiers of a world.
var tiers = []string{"tasks.retry.5s", "tasks.retry.30s"}

func (o *observer) topics() []string {
	typ := o.w.typ()
	return append([]string{"tasks." + typ, "tasks." + typ + ".again", "tasks.results", "tasks.dead-letter"}, tiers...)
}

// read takes one record in.
func (o *observer) read(r *kgo.Record) {
	p := place{r.Topic, r.Partition}
	o.log.next[p] = r.Offset + 1
	o.stats.Records++
	switch r.Topic {
	case "tasks.results":
		o.readEvent(r)
	case "tasks.dead-letter":
		o.readLetter(r)
	default:
		x := &logRecord{place: p, offset: r.Offset, at: r.Timestamp}
		number := map[string]int{"attempt": 1}
		for _, h := range r.Headers {
			switch h.Key {
			case "task-id":
				x.id = string(h.Value)
			case "replay", "attempt", "hop":
				n, err := strconv.Atoi(string(h.Value))
				number[h.Key], x.bad = n, x.bad || err != nil
			case "format":
				x.bad = x.bad || string(h.Value) != "1"
			}
		}
		x.order = fmt.Sprintf("%04d%04d%06d", number["replay"], number["attempt"], number["hop"])
		if o.log.records[p.topic] == nil {
			o.log.records[p.topic] = map[int32][]*logRecord{}
		}
		o.log.records[p.topic][p.partition] = append(o.log.records[p.topic][p.partition], x)
		if !x.bad {
			o.log.byID[x.id] = append(o.log.byID[x.id], x)
		}
		if number["hop"] > 0 {
			o.stats.Hops++
		}
	}
}

func (o *observer) readEvent(r *kgo.Record) {
	var e task.Event
	if err := json.Unmarshal(r.Value, &e); err != nil {
		o.broken(I4, "event cannot be read: %v", err)
		return
	}
	o.stats.Events++
	o.line("event %s replay %d %s attempt %d allocation %d by %s repeat %v", e.TaskID, e.Replay, e.Status, e.Attempt, e.AllocationID, e.Node, e.Repeat)
	if e.Repeat {
		o.stats.Repeats++
	}
	key := outcomeKey{e.TaskID, e.Replay}
	if before := o.log.events[key]; len(before) > 0 && before[0].Status != e.Status && !o.forgotSince(before[0].CompletedAt.Add(-time.Minute)) {
		o.broken(I3, "%s replay %d ended as %s and as %s", e.TaskID, e.Replay, before[0].Status, e.Status)
	}
	o.log.events[key] = append(o.log.events[key], event{e, time.Now()})
}

func (o *observer) forgotSince(t time.Time) bool { return o.redis.forgot.After(t) }

func (o *observer) readLetter(r *kgo.Record) {
	o.stats.Letters++
	l, id := letter{value: bytes.Clone(r.Value)}, ""
	for _, h := range r.Headers {
		switch h.Key {
		case "dead-letter-task-id":
			id = string(h.Value)
		case "dead-letter-reason":
			l.reason = string(h.Value)
		case "dead-letter-origin":
			o.log.origins[string(h.Value)] = true
		case "replay":
			l.replay, _ = strconv.Atoi(string(h.Value))
		}
	}
	o.line("dead letter %s replay %d %s", id, l.replay, l.reason)
	o.log.letters[id] = append(o.log.letters[id], l)
}

// look judges what is committed now, once everything that is in Kafka now has
// been read.
func (o *observer) look(ctx context.Context) {
	committed := o.committedNow()
	o.mu.Lock()
	failures := o.failures()
	o.mu.Unlock()
	if !o.sync(ctx) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.late()
	for _, key := range failures {
		if !o.hasLetter(key) {
			o.broken(I4, "%s replay %d is told to have failed, and has no dead letter", key.id, key.replay)
		}
	}
	for p, offset := range committed {
		before := o.log.commits[p]
		if offset < before {
			o.broken(I8, "%s/%d: committed %d after %d", p.topic, p.partition, offset, before)
			continue
		}
		if offset > before {
			o.stats.Commits++
		}
		for _, r := range o.log.records[p.topic][p.partition] {
			if r.offset >= before && r.offset < offset && !o.finished(r) {
				o.broken(I7, "%s/%d: committed %d passes %s (%s) at %d", p.topic, p.partition, offset, r.id, r.order, r.offset)
			}
		}
		o.log.commits[p] = offset
	}
}

func (o *observer) committedNow() map[place]int64 {
	committed := map[place]int64{}
	for _, group := range o.w.groups() {
		info := o.w.servers.Broker.GroupInfo(group)
		if info == nil {
			continue
		}
		for topic, parts := range info.Commits {
			for partition, c := range parts {
				committed[place{topic, partition}] = c.Offset
			}
		}
	}
	return committed
}

// logEnds is where each partition ends now.
func (o *observer) logEnds() map[place]int64 {
	ends := map[place]int64{}
	for _, topic := range o.topics() {
		for _, p := range o.w.servers.Broker.PartitionInfos(topic) {
			ends[place{topic, p.Partition}] = p.HighWatermark
		}
	}
	return ends
}

// sync waits until everything that is in Kafka now has been read.
func (o *observer) sync(ctx context.Context) bool {
	ends := o.logEnds()
	behind := func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		for p, end := range ends {
			if o.log.next[p] < end {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(time.Minute); behind(); {
		if time.Now().After(deadline) {
			o.violate("world", "the observer cannot follow Kafka")
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}

// finished tells whether a record may be forgotten: its task has ended, or a
// newer record of it is there.
func (o *observer) finished(r *logRecord) bool {
	if o.gone(r.place, r.offset) || o.log.origins[fmt.Sprintf("%s/%d/%d", r.topic, r.partition, r.offset)] {
		return true
	}
	if r.bad {
		return false
	}
	if r.id == "" {
		return o.bareEnded(r)
	}
	replay, _ := strconv.Atoi(r.order[:4])
	for key := range o.log.events {
		if key.id == r.id && key.replay >= replay {
			return true
		}
	}
	for _, other := range o.log.byID[r.id] {
		switch tier := strings.HasPrefix(r.topic, "tasks.retry."); {
		case other.order > r.order:
			return true
		case tier && other != r && other.order == r.order && !other.at.Before(r.at):
			return true
		}
	}
	return false
}

// bareEnded tells whether a record without an id has an event under the one
// that its place gives it.
func (o *observer) bareEnded(r *logRecord) bool {
	suffix := fmt.Sprintf(".%d.%d", r.partition, r.offset)
	for key := range o.log.events {
		if o.tasks[key.id] == nil && strings.HasSuffix(key.id, suffix) {
			return true
		}
	}
	return false
}

// failures are the outcomes FAILED that have been read.
func (o *observer) failures() (keys []outcomeKey) {
	for key, events := range o.log.events {
		if events[0].Status == task.Failed {
			keys = append(keys, key)
		}
	}
	return keys
}

func (o *observer) hasLetter(key outcomeKey) bool {
	for _, l := range o.log.letters[key.id] {
		if l.replay == key.replay {
			return true
		}
	}
	return false
}
