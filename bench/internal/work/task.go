package work

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"time"
)

// Task is one unit of work. All systems carry it as JSON.
type Task struct {
	N int `json:"n"`
	// For is how long it runs.
	For time.Duration `json:"for,omitempty"`
	// Sent is when it was submitted, in nanoseconds since 1970.
	Sent int64 `json:"sent,omitempty"`
	// StormUntil is the end of the time, in nanoseconds since 1970, in which Failing percent of the runs fail.
	StormUntil int64 `json:"storm_until,omitempty"`
	Failing    int   `json:"failing,omitempty"`
	// Pad makes the task as large as parameters usually are.
	Pad string `json:"pad,omitempty"`
}

// Pad is what tasks carry along: 400 bytes.
var Pad = string(make400())

func make400() []byte {
	pad := make([]byte, 400)
	for i := range pad {
		pad[i] = 'a' + byte(i%26)
	}
	return pad
}

var errTold = errors.New("told to fail")

// Run does what the task says.
func (t Task) Run(ctx context.Context, attempt int) error {
	if t.For > 0 {
		timer := time.NewTimer(t.For)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if t.Failing > 0 && time.Now().UnixNano() < t.StormUntil && t.dice(attempt) < t.Failing {
		return errTold
	}
	return nil
}

// dice is the same for the same task and attempt, in every system.
func (t Task) dice(attempt int) int {
	h := fnv.New32a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], uint64(t.N))
	binary.LittleEndian.PutUint64(b[8:], uint64(attempt))
	_, _ = h.Write(b[:]) // it cannot fail
	return int(h.Sum32()>>8) % 100
}
