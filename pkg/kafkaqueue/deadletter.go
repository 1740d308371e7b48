package kafkaqueue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Names of the headers that a dead letter has besides those of its task.
const (
	letterPrefix       = "dead-letter-"
	headerReason       = letterPrefix + "reason"
	headerErrorClass   = letterPrefix + "error-class"
	headerMessage      = letterPrefix + "message"
	headerFirstFailure = letterPrefix + "first-failure"
	headerLastFailure  = letterPrefix + "last-failure"
	headerNode         = letterPrefix + "node"
	headerAttempts     = letterPrefix + "attempts"
	headerLost         = letterPrefix + "lost"
	headerType         = letterPrefix + "type"
	headerTask         = letterPrefix + "task-id"
	headerOrigin       = letterPrefix + "origin"
	headerUnread       = letterPrefix + "unread"
	headerKey          = letterPrefix + "key"
	headerStubBytes    = letterPrefix + "stub-bytes"
	headerStubSHA256   = letterPrefix + "stub-sha256"
)

// maxQuoteBytes bounds what a stub or a letter quotes of others' texts.
const maxQuoteBytes = 512

// DeadLetter is a task that was given up, as the dead-letter topic has it.
type DeadLetter struct {
	// Delivery is the task: its envelope and parameters as they were. Err is
	// set, as it was then, when its headers cannot be read. Origin is the
	// record that was given up, not the letter's.
	Delivery task.Delivery
	Letter   task.Letter

	// Stub tells that the record was too large to be kept: Bytes and SHA256 are
	// those of the missing parameters, Origin says where they were.
	Stub   bool
	Bytes  int
	SHA256 string // hex

	Partition int32     // of the dead-letter topic
	Offset    int64     // in it
	At        time.Time // when it was appended
}

// letterRecord is the whole record: the headers of the task, or all headers as
// they were when those cannot be read, then the letter's own.
func letterRecord(topic string, d *task.Delivery, l *task.Letter) kgo.Record {
	h := newHeaderList()
	if !isRaw(d) {
		h.envelope(&d.Envelope, "", nil)
	}
	for _, header := range headersOf(d) {
		if !strings.HasPrefix(header.Key, letterPrefix) { // of an earlier letter: they must not pile up
			h.list = append(h.list, header)
		}
	}
	if isRaw(d) && d.Err != nil {
		h.text(headerUnread, task.Cut(d.Err.Error()))
		if key := keyOf(d); key != nil {
			h.bytes(headerKey, key)
		}
	}
	h.letter(d, l)
	return kgo.Record{Topic: topic, Key: []byte(d.ID), Value: d.Params, Headers: h.list}
}

// stubRecord stands for a record that is too large to be kept whole.
func stubRecord(topic string, d *task.Delivery, l *task.Letter) kgo.Record {
	h := &headerList{}
	sum := sha256.Sum256(d.Params)
	h.text(headerStubSHA256, hex.EncodeToString(sum[:]))
	h.number(headerStubBytes, int64(len(d.Params)), -1)
	if isRaw(d) && d.Err != nil {
		h.text(headerUnread, task.Cut(d.Err.Error()))
	} else {
		small := d.Envelope
		small.Checkpoint = nil
		h.envelope(&small, "", nil)
	}
	h.letter(d, l)
	return kgo.Record{Topic: topic, Key: []byte(d.ID), Headers: h.list}
}

func (l *headerList) letter(d *task.Delivery, letter *task.Letter) {
	l.text(headerReason, string(letter.Reason))
	l.text(headerErrorClass, quote(letter.Class))
	l.text(headerMessage, task.Cut(letter.Message))
	l.time(headerFirstFailure, letter.FirstFailure)
	l.time(headerLastFailure, letter.LastFailure)
	l.text(headerNode, quote(letter.Node))
	l.number(headerAttempts, int64(letter.Attempts), 0)
	l.number(headerLost, int64(letter.Lost), 0)
	l.text(headerType, d.Type)
	l.text(headerTask, d.ID)
	l.place(headerOrigin, d.Origin)
}

func quote(s string) string { return s[:min(len(s), maxQuoteBytes)] }

// readLetter reads a record of the dead-letter topic. One that is no letter of
// this format comes with Delivery.Err.
func readLetter(r *kgo.Record, a *arena) DeadLetter {
	letter := DeadLetter{Partition: r.Partition, Offset: r.Offset, At: r.Timestamp}
	task0, rest, unread, err := letter.headers(r, a)
	d, _ := deliver(rest, nil, a, task0.Type, func(string) string { return "dead-letter" })
	switch {
	case unread != "":
		d.Err, d.Reason = fmt.Errorf("%w: %s", task.ErrInvalid, unread), letter.Letter.Reason
		d.Ref = &reference{raw: true, headers: slices.Collect(copies(rest.Headers, a)), key: task0.Params}
	case err != nil:
		d.Err, d.Reason = err, task.Undecodable
	}
	if task0.ID != "" {
		d.ID = task0.ID
	}
	if d.First == d.Origin {
		d.First = task0.Origin
	}
	d.Origin = task0.Origin
	letter.Delivery = d
	return letter
}

// headers reads the letter's own headers and returns the record without them.
// Of the task they name id, type, origin and, as its Params, the key.
func (l *DeadLetter) headers(r *kgo.Record, a *arena) (d task.Delivery, rest *kgo.Record, unread string, err error) {
	without := *r
	without.Headers = nil
	for _, h := range r.Headers {
		var bad error
		switch h.Key {
		case headerReason:
			l.Letter.Reason = task.Reason(a.text(h.Value))
		case headerErrorClass:
			l.Letter.Class = a.text(h.Value)
		case headerMessage:
			l.Letter.Message = a.text(h.Value)
		case headerFirstFailure:
			l.Letter.FirstFailure, bad = millis(h.Value)
		case headerLastFailure:
			l.Letter.LastFailure, bad = millis(h.Value)
		case headerNode:
			l.Letter.Node = a.text(h.Value)
		case headerAttempts:
			l.Letter.Attempts, bad = number(h.Value)
		case headerLost:
			l.Letter.Lost, bad = number(h.Value)
		case headerType:
			d.Type = a.text(h.Value)
		case headerTask:
			d.ID = a.text(h.Value)
		case headerOrigin:
			d.Origin, bad = parsePlace(a.text(h.Value))
		case headerUnread:
			unread = a.text(h.Value)
		case headerKey:
			d.Params = a.copy(h.Value)
		case headerStubBytes:
			l.Stub = true
			l.Bytes, bad = number(h.Value)
		case headerStubSHA256:
			l.SHA256 = a.text(h.Value)
		default:
			without.Headers = append(without.Headers, h)
		}
		if bad != nil && err == nil {
			err = fmt.Errorf("%w: header %s %s: %w", task.ErrInvalid, h.Key, clip(string(h.Value)), bad)
		}
	}
	if l.Letter.Reason == "" && err == nil {
		err = fmt.Errorf("%w: no header %s: this is no dead letter", task.ErrInvalid, headerReason)
	}
	return d, &without, unread, err
}

// ReadDeadLetters calls fn for each letter, up to the topic's end as it was at
// the call. It belongs to no group and ends with fn's first error.
func ReadDeadLetters(ctx context.Context, cfg Config, fn func(DeadLetter) error) error {
	var a arena
	return readTopic(ctx, cfg, names{cfg.Prefix}.deadLetter(), time.Time{}, func(r *kgo.Record) error {
		return fn(readLetter(r, &a))
	})
}
