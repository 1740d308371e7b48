package kafkaqueue

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Names of the record headers: docs/formats/kafka.md describes them.
const (
	headerFormat      = "format"
	headerTaskID      = "task-id"
	headerReplay      = "replay"
	headerAttempt     = "attempt"
	headerHop         = "hop"
	headerMaxAttempts = "max-attempts"
	headerSubmittedAt = "submitted-at"
	headerNotBefore   = "not-before"
	headerDeadline    = "deadline"
	headerTarget      = "target"
	headerCheckpoint  = "checkpoint"
	headerContentType = "content-type"
	headerOpaqueID    = "x-opaque-id"
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
	headerFirst       = "first"
)

const (
	maxNumber     = math.MaxInt32
	maxMillis     = 253402300799999 // the year 9999
	maxTopicBytes = 249
	formatText    = "1"
)

var (
	errTooLarge = errors.New("over a limit")
	errRepeated = errors.New("stands there twice")
	errNumber   = errors.New("is no whole number from 0 to 2147483647")
	errMillis   = errors.New("is no time in milliseconds since 1970")
	errPlace    = errors.New("is no topic/partition/offset")
)

// decoded is what the headers of a record say.
type decoded struct {
	task.Envelope
	target string
	extra  []kgo.RecordHeader // headers that are not ours: every hop takes them along
}

// decodeHeaders reads a record's headers; texts are copied through a. The
// error wraps task.ErrInvalid.
func decodeHeaders(r *kgo.Record, a *arena) (d decoded, _ task.Reason, err error) {
	d.Attempt = 1
	var seen, bit uint32
	total := 0
	for i := range r.Headers {
		h := &r.Headers[i]
		bit, err = d.header(h, a)
		switch {
		case err == nil && bit&seen != 0:
			err = errRepeated
		case bit&(bitText|bitExtra) != 0:
			total += len(h.Value)
			if bit&bitExtra != 0 {
				total += len(h.Key)
			}
		}
		if err != nil {
			return d, reasonOf(err), fmt.Errorf("%w: header %s %s: %w", task.ErrInvalid, clip(h.Key), clip(string(h.Value)), err)
		}
		seen |= bit &^ (bitText | bitExtra)
	}
	switch {
	case len(d.Checkpoint) > task.MaxCheckpointBytes:
		err = fmt.Errorf("%w: a checkpoint of %d bytes, at most %d: %w", task.ErrInvalid, len(d.Checkpoint), task.MaxCheckpointBytes, errTooLarge)
	case total > task.MaxHeaderBytes:
		err = fmt.Errorf("%w: headers of %d bytes, at most %d: %w", task.ErrInvalid, total, task.MaxHeaderBytes, errTooLarge)
	case len(r.Value) > task.MaxParamsBytes:
		err = fmt.Errorf("%w: parameters of %d bytes, at most %d: %w", task.ErrInvalid, len(r.Value), task.MaxParamsBytes, errTooLarge)
	case d.ID != "":
		err = task.ValidateID(d.ID)
	case seen&bitTaskID != 0:
		err = fmt.Errorf("%w: an empty task id", task.ErrInvalid)
	}
	if err != nil {
		return d, reasonOf(err), err
	}
	return d, "", nil
}

// Which header it was: one bit each, to notice repeats.
const (
	bitTaskID = 1 << iota
	bitFormat
	bitReplay
	bitAttempt
	bitHop
	bitMaxAttempts
	bitSubmittedAt
	bitNotBefore
	bitDeadline
	bitTarget
	bitCheckpoint
	bitContentType
	bitOpaqueID
	bitTraceParent
	bitTraceState
	bitFirst
	bitText  // counts against the limit of headers
	bitExtra // is not ours
)

func (d *decoded) header(h *kgo.RecordHeader, a *arena) (bit uint32, err error) {
	switch h.Key {
	case headerTaskID:
		bit, d.ID = bitTaskID|bitText, a.text(h.Value)
	case headerFormat:
		bit = bitFormat
		if string(h.Value) != formatText {
			err = errors.New("is a format that this version does not know")
		}
	case headerReplay:
		bit = bitReplay
		d.Replay, err = number(h.Value)
	case headerAttempt:
		bit = bitAttempt
		if d.Attempt, err = number(h.Value); err == nil && d.Attempt == 0 {
			err = errors.New("is 0: attempts count from 1")
		}
	case headerHop:
		bit = bitHop
		d.Hop, err = number(h.Value)
	case headerMaxAttempts:
		bit = bitMaxAttempts
		d.MaxAttempts, err = number(h.Value)
	case headerSubmittedAt:
		bit = bitSubmittedAt
		d.SubmittedAt, err = millis(h.Value)
	case headerNotBefore:
		bit = bitNotBefore
		d.NotBefore, err = millis(h.Value)
	case headerDeadline:
		bit = bitDeadline
		d.Deadline, err = millis(h.Value)
	case headerTarget:
		bit, d.target = bitTarget, a.text(h.Value)
		if len(h.Value) == 0 || len(h.Value) > maxTopicBytes {
			err = errors.New("is no topic's name")
		}
	case headerCheckpoint:
		bit, d.Checkpoint = bitCheckpoint, a.copy(h.Value)
	case headerContentType:
		bit, d.ContentType = bitContentType|bitText, a.text(h.Value)
	case headerOpaqueID:
		bit, d.OpaqueID = bitOpaqueID|bitText, a.text(h.Value)
	case headerTraceParent:
		bit, d.TraceParent = bitTraceParent|bitText, a.text(h.Value)
	case headerTraceState:
		bit, d.TraceState = bitTraceState|bitText, a.text(h.Value)
	case headerFirst:
		bit = bitFirst
		d.First, err = parsePlace(a.text(h.Value))
	default:
		bit = bitExtra
		d.extra = append(d.extra, a.header(*h))
	}
	return bit, err
}

func reasonOf(err error) task.Reason {
	if errors.Is(err, errTooLarge) {
		return task.TooLarge
	}
	return task.Undecodable
}

func number(b []byte) (int, error) {
	n, ok := digits(b, 10)
	if !ok || n > maxNumber {
		return 0, errNumber
	}
	return int(n), nil
}

func millis(b []byte) (time.Time, error) {
	n, ok := digits(b, 15)
	if !ok || n < 1 || n > maxMillis {
		return time.Time{}, errMillis
	}
	return time.UnixMilli(n), nil
}

func digits(b []byte, most int) (n int64, ok bool) {
	if len(b) == 0 || len(b) > most {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func parsePlace(s string) (o task.Origin, err error) {
	last := strings.LastIndexByte(s, '/')
	if last < 0 {
		return o, errPlace
	}
	middle := strings.LastIndexByte(s[:last], '/')
	if middle < 1 || middle > maxTopicBytes || !validTopicPart(s[:middle]) {
		return o, errPlace
	}
	partition, err1 := strconv.ParseUint(s[middle+1:last], 10, 31)
	offset, err2 := strconv.ParseUint(s[last+1:], 10, 63)
	if err1 != nil || err2 != nil {
		return o, errPlace
	}
	return task.Origin{Topic: s[:middle], Partition: int32(partition), Offset: int64(offset)}, nil
}

// clip shortens what an error quotes.
func clip(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return strconv.Quote(s)
}

// headerList builds a record's headers. Texts are not copied: what they are
// taken from must not change before the record is acknowledged.
type headerList struct {
	list    []kgo.RecordHeader
	numbers []byte
}

func (l *headerList) text(key, value string) {
	if value != "" {
		l.list = append(l.list, kgo.RecordHeader{Key: key, Value: unsafe.Slice(unsafe.StringData(value), len(value))})
	}
}

func (l *headerList) bytes(key string, value []byte) {
	l.list = append(l.list, kgo.RecordHeader{Key: key, Value: value})
}

// number adds a number unless it is the one that a missing header means.
func (l *headerList) number(key string, n, missing int64) {
	if n == missing {
		return
	}
	at := len(l.numbers)
	l.numbers = strconv.AppendInt(l.numbers, n, 10)
	l.bytes(key, l.numbers[at:len(l.numbers):len(l.numbers)])
}

// time adds a time in milliseconds, rounded up: nothing may be early.
func (l *headerList) time(key string, t time.Time) {
	if !t.IsZero() {
		l.number(key, t.Add(time.Millisecond-1).UnixMilli(), 0)
	}
}

func (l *headerList) place(key string, o task.Origin) {
	if o.Topic == "" {
		return
	}
	at := len(l.numbers)
	l.numbers = append(l.numbers, o.Topic...)
	l.numbers = append(l.numbers, '/')
	l.numbers = strconv.AppendInt(l.numbers, int64(o.Partition), 10)
	l.numbers = append(l.numbers, '/')
	l.numbers = strconv.AppendInt(l.numbers, o.Offset, 10)
	l.bytes(key, l.numbers[at:len(l.numbers):len(l.numbers)])
}

// envelope adds the headers of e, then those that are not ours.
func (l *headerList) envelope(e *task.Envelope, target string, extra []kgo.RecordHeader) {
	l.text(headerFormat, formatText)
	l.text(headerTaskID, e.ID)
	l.number(headerReplay, int64(e.Replay), 0)
	l.number(headerAttempt, int64(max(e.Attempt, 1)), 1)
	l.number(headerHop, int64(e.Hop), 0)
	l.number(headerMaxAttempts, int64(e.MaxAttempts), 0)
	l.time(headerSubmittedAt, e.SubmittedAt)
	l.time(headerNotBefore, e.NotBefore)
	l.time(headerDeadline, e.Deadline)
	l.text(headerTarget, target)
	if e.Checkpoint != nil {
		l.bytes(headerCheckpoint, e.Checkpoint)
	}
	l.text(headerContentType, e.ContentType)
	l.text(headerOpaqueID, e.OpaqueID)
	l.text(headerTraceParent, e.TraceParent)
	l.text(headerTraceState, e.TraceState)
	l.place(headerFirst, e.First)
	l.list = append(l.list, extra...)
}

// arena copies what is delivered out of Kafka's fetch buffers, many small
// pieces to a chunk: a record that is kept for hours then pins one chunk and
// not the megabytes it came with. Nothing is overwritten or moved.
type arena struct{ chunk []byte }

const chunkBytes = 32 << 10

func (a *arena) copy(b []byte) []byte {
	switch {
	case b == nil:
		return nil
	case len(b) == 0:
		return []byte{}
	case len(b) > chunkBytes/4:
		return bytes.Clone(b)
	}
	if len(b) > cap(a.chunk)-len(a.chunk) {
		a.chunk = make([]byte, 0, chunkBytes)
	}
	at := len(a.chunk)
	a.chunk = append(a.chunk, b...)
	return a.chunk[at:len(a.chunk):len(a.chunk)]
}

// text is a copy as a string: nobody else has the bytes.
func (a *arena) text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	b = a.copy(b)
	return unsafe.String(&b[0], len(b))
}

func (a *arena) header(h kgo.RecordHeader) kgo.RecordHeader {
	return kgo.RecordHeader{Key: strings.Clone(h.Key), Value: a.copy(h.Value)}
}
