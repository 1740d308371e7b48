package claims

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// A state is one string: a head of headBytes that scripts read, then the body,
// an encoded [Info], that they copy unread. Bytes are counted from 0; numbers
// are decimal with leading zeros, so that fields compare as strings.
//
//	 0      format, '1'
//	 1      status, the digit of task.Status
//	 2      published: '1' when nothing is owed
//	 3      cancel requested: '1'
//	 4..17  allocation id
//	18..31  at: the last transition, Unix milliseconds of Redis' clock
//	32..33  lost claims
//	34..35  interrupted runs of this attempt, at most 99
//	36..49  allocation id of the last claim that was counted as lost
//	50      reason, a letter of reasonCodes, '-' for none
//	51..64  order: replay (4 digits), attempt (4), hop (6)
//	65..80  params hash, 16 hex digits, zeros for not known
//	81..94  not-before, Unix milliseconds, zeros for none
//	95..    body
//
// The part from the order on is the blob: what a record, or a settlement, says.
const (
	formatByte = '1'
	headBytes  = 95
	blobBytes  = 44 // the blob's own head
)

// Limits of the numbers, by their width in the head.
const (
	maxReplay  = 9_999
	maxAttempt = 9_999
	maxHop     = 999_999
	maxMillis  = 99_999_999_999_999
)

// reasonCodes has a letter for each reason of a dead letter.
var reasonCodes = map[task.Reason]byte{
	"":                    '-',
	task.RetriesExhausted: 'r',
	task.PermanentFailure: 'p',
	task.WorkerLost:       'w',
	task.Expired:          'e',
	task.Undecodable:      'd',
	task.Unroutable:       'u',
	task.IDConflict:       'c',
	task.TooLarge:         't',
}

var reasonNames = func() (names [256]task.Reason) {
	for reason, code := range reasonCodes {
		names[code] = reason
	}
	return names
}()

func reasonCode(r task.Reason) (byte, error) {
	code, ok := reasonCodes[r]
	if !ok {
		return 0, fmt.Errorf("%w: reason %q", ErrInvalid, r)
	}
	return code, nil
}

// numbers order the copies of one task.
type numbers struct{ replay, attempt, hop int }

func (n numbers) check() error {
	if n.replay < 0 || n.replay > maxReplay || n.attempt < 0 || n.attempt > maxAttempt || n.hop < 0 || n.hop > maxHop {
		return fmt.Errorf("%w: replay %d, attempt %d, hop %d: 0 to %d, %d and %d", ErrInvalid,
			n.replay, n.attempt, n.hop, maxReplay, maxAttempt, maxHop)
	}
	return nil
}

func appendBlob(b []byte, n numbers, hash uint64, notBefore time.Time, body []byte) []byte {
	b = appendOrder(b, n)
	b = appendHash(b, hash)
	b = appendTime(b, notBefore)
	return append(b, body...)
}

func appendOrder(b []byte, n numbers) []byte {
	b = appendDigits(b, int64(n.replay), 4)
	b = appendDigits(b, int64(n.attempt), 4)
	return appendDigits(b, int64(n.hop), 6)
}

// appendTime rounds up: nothing is early by the part of a millisecond.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return appendDigits(b, 0, 14)
	}
	return appendDigits(b, min(max(t.Add(time.Millisecond-1).UnixMilli(), 0), maxMillis), 14)
}

func appendHash(b []byte, hash uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[hash>>shift&15])
	}
	return b
}

// appendDigits writes n, not negative, with leading zeros.
func appendDigits(b []byte, n int64, width int) []byte {
	start := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := start + width - 1; i >= start && n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

func appendFlag(b []byte, flag bool) []byte {
	if flag {
		return append(b, '1')
	}
	return append(b, '0')
}

var errHead = errors.New("not a state of format 1")

// decodeState reads a whole state. A body that is no JSON leaves Info empty
// but for an explanation: the head alone says what must be done.
func decodeState(id, raw string) (*State, error) {
	st, err := decodeHead(id, raw)
	if err != nil {
		return nil, fmt.Errorf("state of task %s: %w", id, err)
	}
	if st.Info, err = decodeInfo(raw[headBytes:]); err != nil {
		st.Info = Info{Explanation: "the state's body cannot be read: " + err.Error()}
	}
	return st, nil
}

func decodeHead(id, raw string) (*State, error) {
	if len(raw) < headBytes || raw[0] != formatByte {
		return nil, errHead
	}
	r := headReader{raw: raw}
	st := &State{
		ID:              id,
		Status:          task.Status(r.number(1, 2)),
		Published:       r.flag(2),
		CancelRequested: r.flag(3),
		AllocationID:    r.number(4, 18),
		At:              r.time(18, 32),
		Lost:            int(r.number(32, 34)),
		Interrupted:     int(r.number(34, 36)),
		Reason:          reasonNames[raw[50]],
		Replay:          int(r.number(51, 55)),
		Attempt:         int(r.number(55, 59)),
		Hop:             int(r.number(59, 65)),
		ParamsHash:      r.hash(65, 81),
		NotBefore:       r.time(81, 95),
	}
	if r.bad || st.Status < task.Unassigned || st.Status > task.Cancelled {
		return nil, errHead
	}
	return st, nil
}

type headReader struct {
	raw string
	bad bool
}

func (r *headReader) number(from, to int) (n int64) {
	for _, c := range []byte(r.raw[from:to]) {
		if c < '0' || c > '9' {
			r.bad = true
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

func (r *headReader) flag(at int) bool {
	n := r.number(at, at+1)
	r.bad = r.bad || n > 1
	return n == 1
}

func (r *headReader) time(from, to int) time.Time {
	ms := r.number(from, to)
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (r *headReader) hash(from, to int) uint64 {
	n, err := strconv.ParseUint(r.raw[from:to], 16, 64)
	r.bad = r.bad || err != nil
	return n
}
