package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/semaphore"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	taskRecordBytes = 1 << 20                   // of a record in a task topic: Kafka's own default
	hopRecordBytes  = taskRecordBytes + 128<<10 // with what hops and letters add
	submitBytes     = 64 << 20                  // submitted and not acknowledged
	submitOverhead  = 512                       // bytes of a task besides its parameters
	missingTries    = 3                         // before a topic counts as missing
	retryLeast      = 200 * time.Millisecond
	retryMost       = 10 * time.Second
)

// Producer publishes. One per process is enough; it is safe for concurrent use.
//
// Event, Hop and DeadLetter never block and acknowledge exactly once, from a
// goroutine of the producer's that must not be kept waiting: acked may publish
// again, but not wait for that. An error is final: [ErrRefused] or
// [ErrClosed]; anything that may heal is retried for ever.
//
// What is handed over must not be changed before it is acknowledged.
type Producer struct {
	cfg     Config
	names   names
	tiers   tiers
	client  *kgo.Client
	metrics *metrics
	trouble *lastError
	said    complaints
	room    *semaphore.Weighted

	open    atomic.Int64  // publications without an acknowledgement
	closing atomic.Bool   // nothing new is taken
	idle    chan struct{} // told when open fell to 0 while closing

	mu      sync.Mutex
	waiting map[*publication]*time.Timer // for their next try
	closed  bool
}

// NewProducer does not connect yet.
func NewProducer(cfg Config) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	metrics, err := newMetrics(cfg.Meter)
	if err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	p := &Producer{
		cfg: cfg, names: names{cfg.Prefix}, tiers: newTiers(cfg), metrics: metrics, trouble: &lastError{},
		room: semaphore.NewWeighted(submitBytes), idle: make(chan struct{}, 1), waiting: map[*publication]*time.Timer{},
	}
	p.client, err = kgo.NewClient(append(cfg.clientOptions(),
		kgo.RequiredAcks(kgo.AllISRAcks()), // idempotent by default
		kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.SnappyCompression(), kgo.NoCompression()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytesFn(p.batchBytes),
		kgo.RecordPartitioner(newPartitioner()),
		kgo.MaxBufferedRecords(math.MaxInt32), // never blocks: windows and Submit bound what is buffered
		kgo.WithHooks(p.trouble),
	)...)
	if err != nil {
		return nil, fmt.Errorf("open Kafka producer: %w", err)
	}
	return p, nil
}

// batchBytes is at most what the topic takes: a larger batch would be refused
// with everybody's records in it.
func (p *Producer) batchBytes(topic string) int32 {
	if p.names.larger(topic) {
		return hopRecordBytes
	}
	return taskRecordBytes
}

// Close waits until everything published is acknowledged, or ctx ends: what
// is left is then acknowledged with [ErrClosed], and Close returns ctx's error.
func (p *Producer) Close(ctx context.Context) error {
	p.closing.Store(true)
	var err error
	for p.open.Load() > 0 && err == nil {
		select {
		case <-p.idle:
		case <-ctx.Done():
			err = fmt.Errorf("close producer: %d records without acknowledgement: %w", p.open.Load(), ctx.Err())
		}
	}
	p.mu.Lock()
	p.closed = true
	var left []*publication
	for pub, timer := range p.waiting {
		if timer.Stop() {
			left = append(left, pub)
		}
		delete(p.waiting, pub)
	}
	p.mu.Unlock()
	for _, pub := range left {
		p.finish(pub, ErrClosed) //nolint:contextcheck // what is published outlives its caller
	}
	p.client.Close()
	return err
}

// Event publishes a completion event, keyed by its task id.
func (p *Producer) Event(e task.Event, acked func(error)) {
	pub := &publication{producer: p, kind: kindEvent, acked: acked}
	value := e.AppendJSON(make([]byte, 0, 384))
	pub.record = kgo.Record{Topic: p.names.results(), Key: []byte(e.TaskID), Value: value}
	p.publish(pub)
}

// Hop publishes d again, with the envelope that it has now: to the return
// topic of its type, or to a delay tier when NotBefore is ahead by that much.
func (p *Producer) Hop(d task.Delivery, acked func(error)) {
	pub := &publication{producer: p, kind: kindHop, acked: acked}
	pub.carry(&d, p.names.again(d.Type), time.Now())
	p.publish(pub)
}

// DeadLetter publishes d, parameters byte for byte, with the reasons in l. Where
// that is too large, a stub says where the record was and what its hash is.
func (p *Producer) DeadLetter(d task.Delivery, l task.Letter, acked func(error)) {
	pub := &publication{producer: p, kind: kindDeadLetter, acked: acked}
	pub.record = letterRecord(p.names.deadLetter(), &d, &l)
	pub.stub = func() kgo.Record { return stubRecord(p.names.deadLetter(), &d, &l) }
	p.publish(pub)
}

// publish hands pub to Kafka, whatever happened to it before.
func (p *Producer) publish(pub *publication) {
	p.open.Add(1)
	if p.closing.Load() {
		go p.finish(pub, ErrClosed)
		return
	}
	p.send(pub)
}

func (p *Producer) send(pub *publication) {
	p.client.Produce(p.client.Context(), &pub.record, pub.answered)
}

// answered is called by the Kafka client, on one goroutine for all.
func (pub *publication) answered(_ *kgo.Record, err error) {
	p := pub.producer
	pub.tries++
	switch p.verdict(pub, err) {
	case final:
		p.finish(pub, err)
	case closed:
		p.finish(pub, ErrClosed)
	case refused:
		p.finish(pub, fmt.Errorf("%w: %s to topic %s: %w", ErrRefused, pub.kind, pub.record.Topic, err))
	case shrink:
		p.cfg.Log.Warn("dead letter is too large: a stub takes its place", "error", err)
		pub.record, pub.stub = pub.stub(), nil
		p.later(pub, 0)
	case unsure:
		p.finish(pub, fmt.Errorf("%w: %w", ErrUnknown, p.cfg.explain(err)))
		p.renew(pub.record.Topic, err)
	case again:
		if p.said.fresh(err, pub.kind, pub.record.Topic) {
			p.cfg.Log.Warn("publication failed; it is tried again", "kind", string(pub.kind), "topic", pub.record.Topic, "error", p.cfg.explain(err))
		}
		pub.failure = err
		p.later(pub, min(retryLeast<<min(pub.tries, 10), retryMost))
	}
}

type verdict int

const (
	final   verdict = iota // acknowledged
	again                  // may heal: a broker's data loss, a topic created anew, missing rights
	refused                // never will
	shrink                 // would as a stub
	unsure                 // a submission: its caller decides
	closed
)

// verdict says what an answer means. Kafka's client retries by itself what it
// knows to be passing; what arrives here is the rest.
func (p *Producer) verdict(pub *publication, err error) verdict {
	switch {
	case err == nil:
		return final
	case errors.Is(err, kgo.ErrClientClosed):
		return closed
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		if pub.stub != nil {
			return shrink
		}
		return refused
	case errors.Is(err, kerr.InvalidTopicException), errors.Is(err, kerr.InvalidRecord), errors.Is(err, kerr.PolicyViolation):
		return refused
	case pub.kind == kindTask && (errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)):
		return refused // its caller can be told; others wait until somebody gives the right
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		// Events and dead letters have no other place to go: they wait for theirs.
		if pub.kind == kindTask || pub.tries >= missingTries && (pub.kind == kindHop || pub.kind == kindRoute) {
			return refused
		}
	case pub.kind == kindTask:
		return unsure
	}
	return again
}

// renew lets the client forget a topic that was created anew: it would refuse
// the new one for ever.
func (p *Producer) renew(topic string, err error) {
	if errors.Is(err, kerr.UnknownTopicID) {
		go p.client.PurgeTopicsFromProducing(topic) // waits for metadata: not here
	}
}

// later tries pub again after a pause.
func (p *Producer) later(pub *publication, pause time.Duration) {
	p.metrics.retried.Add(p.client.Context(), 1, metric.WithAttributes(attribute.String("kind", string(pub.kind))))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		go p.finish(pub, ErrClosed)
		return
	}
	p.waiting[pub] = time.AfterFunc(pause, func() { p.retry(pub) })
}

func (p *Producer) retry(pub *publication) {
	p.mu.Lock()
	_, ours := p.waiting[pub]
	delete(p.waiting, pub)
	p.mu.Unlock()
	if !ours {
		p.finish(pub, ErrClosed)
		return
	}
	p.renew(pub.record.Topic, pub.failure)
	r := pub.record
	pub.record = kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}
	p.send(pub)
}

// finish acknowledges pub, once.
func (p *Producer) finish(pub *publication, err error) {
	p.metrics.published.Add(p.client.Context(), 1, p.metrics.publishedAttrs(pub.kind, err))
	if err != nil {
		p.cfg.Log.Debug("publication ended without Kafka's acknowledgement", "kind", string(pub.kind), "topic", pub.record.Topic, "error", err)
	}
	pub.acked(err)
	if p.open.Add(-1) == 0 && p.closing.Load() {
		select {
		case p.idle <- struct{}{}:
		default:
		}
	}
}
