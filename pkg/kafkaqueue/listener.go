package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	handlePauseLeast = 100 * time.Millisecond // after a handler's error; doubles
	handlePauseMost  = 30 * time.Second
)

// ListenerConfig is how a [Listener] reads the results topic.
type ListenerConfig struct {
	// Group shares the events among its members and remembers how far it is.
	Group string
	// Latest starts a new group at the end of the topic; default its start.
	Latest bool
	// Since starts a new group at the first event that was published at or
	// after this time, however often and however late its members join; zero:
	// as Latest says.
	Since time.Time
	// Repeats hands over repeated events, too: for those who count them.
	Repeats bool
	// Remember is how many (task id, replay) are kept to drop repeated events.
	// Default 65536.
	Remember int
}

// Listener hands completion events to a function, at least once. The first
// event of a (task id, replay) is the outcome; later ones are dropped as far
// back as it remembers.
type Listener struct {
	member  *member
	seen    *memory
	repeats bool
}

// NewListener does not connect yet.
func NewListener(cfg Config, lc ListenerConfig) (*Listener, error) {
	errs := []error{cfg.Validate()}
	if lc.Group == "" || !validTopicPart(lc.Group) {
		errs = append(errs, fmt.Errorf("kafka: listener group %q: use letters, digits and . _ -", lc.Group))
	}
	if lc.Remember < 0 {
		errs = append(errs, fmt.Errorf("kafka: listener that remembers %d ids", lc.Remember))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if lc.Remember == 0 {
		lc.Remember = 65536
	}
	cfg = cfg.withDefaults()
	var options []kgo.Opt
	switch {
	case !lc.Since.IsZero():
		options = append(options, kgo.ConsumeStartOffset(kgo.NewOffset().AfterMilli(lc.Since.UnixMilli())))
	case lc.Latest:
		options = append(options, kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd()))
	}
	m, err := newMember(cfg, cfg.Prefix+lc.Group, []string{names{cfg.Prefix}.results()}, Hooks{}, options...)
	if err != nil {
		return nil, fmt.Errorf("listener of group %s: %w", lc.Group, err)
	}
	if !lc.Since.IsZero() {
		m.since = lc.Since.UnixMilli()
	}
	return &Listener{member: m, seen: newMemory(lc.Remember), repeats: lc.Repeats}, nil
}

// Run calls handle for each event, one at a time and in the order of each
// partition, and commits it once handle returned nil. An error is tried again, with a
// growing pause up to 30 s, until it is nil: a handler that wants to skip an
// event returns nil. What is no event is logged and skipped. Run ends with nil
// after ctx ends: handle's context ends with it.
func (l *Listener) Run(ctx context.Context, handle func(ctx context.Context, e task.Event) error) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	left := make(chan error, 1)
	go func() { left <- l.member.run(life) }()
	err := l.listen(ctx, handle)
	end() // only now: what was handled is committed before the group is left
	if failure := <-left; failure != nil {
		return failure
	}
	if ctx.Err() == nil {
		return err
	}
	return nil
}

func (l *Listener) listen(ctx context.Context, handle func(context.Context, task.Event) error) error {
	for {
		batches, err := l.member.poll(ctx)
		if err != nil {
			return err
		}
		for _, b := range batches {
			if err := l.batch(ctx, b, handle); err != nil {
				return err
			}
		}
	}
}

func (l *Listener) batch(ctx context.Context, b batch, handle func(context.Context, task.Event) error) error {
	if b.tooLarge.to > 0 {
		l.member.cfg.Log.Warn("records of the results topic are too large to be unpacked", "partition", b.assignment.partition, "from", b.tooLarge.from, "to", b.tooLarge.to)
		l.member.finish(b.assignment, b.tooLarge.from)
	}
	for _, r := range b.records {
		if r.Attrs.IsControl() {
			continue
		}
		if !b.assignment.owned() { // another member gets the rest
			return nil
		}
		e, err := decodeEvent(r)
		if err != nil {
			l.member.cfg.Log.Warn("record of the results topic is no event", "partition", r.Partition, "offset", r.Offset, "error", err)
		} else if err := l.event(ctx, e, handle); err != nil {
			return err
		}
		l.member.finish(b.assignment, r.Offset)
	}
	return nil
}

// event hands e over until that succeeds; the error is ctx's.
func (l *Listener) event(ctx context.Context, e task.Event, handle func(context.Context, task.Event) error) error {
	key := remembered{e.TaskID, e.Replay}
	if !l.repeats && l.seen.has(key) {
		return nil
	}
	for pause := handlePauseLeast; ; pause = min(2*pause, handlePauseMost) {
		err := handle(ctx, e)
		if err == nil {
			l.seen.add(key)
			return nil
		}
		if ctx.Err() == nil {
			l.member.cfg.Log.Warn("handler of an event failed; it is called again", "task_id", e.TaskID, "pause", pause, "error", err)
			l.member.wait(ctx, pause)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// memory holds the newest keys up to a limit.
type memory struct {
	keys map[remembered]struct{}
	ring []remembered
	next int
}

type remembered struct {
	id     string
	replay int
}

func newMemory(limit int) *memory {
	return &memory{keys: map[remembered]struct{}{}, ring: make([]remembered, 0, limit)}
}

func (m *memory) has(key remembered) bool {
	_, ok := m.keys[key]
	return ok
}

func (m *memory) add(key remembered) {
	if len(m.ring) < cap(m.ring) {
		m.ring = append(m.ring, key)
	} else {
		delete(m.keys, m.ring[m.next])
		m.ring[m.next] = key
		m.next = (m.next + 1) % len(m.ring)
	}
	m.keys[key] = struct{}{}
}
