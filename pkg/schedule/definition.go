package schedule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Missed is what becomes of runs that were due while nothing could submit them for longer than Late.
type Missed string

// Every policy.
const (
	Skip Missed = "skip" // they do not take place
	Once Missed = "once" // one run makes up for all: the newest of them, unless one follows that is in time
)

// DefaultLate is how late a run may be by default.
const DefaultLate = 10 * time.Minute

// MaxLate bounds Late: a schedule by the minute is behind by 1,440 runs then, and they are submitted at once.
const MaxLate = 24 * time.Hour

// Definition is a schedule, as the settings topic has it under "schedule/<name>".
type Definition struct {
	// Cron and Zone say when runs are due; see [Cron]. The default zone is UTC.
	Cron string `json:"cron"`
	Zone string `json:"zone,omitempty"`

	// Type and Params are those of the task that each run submits.
	Type   string          `json:"type"`
	Params json.RawMessage `json:"params,omitempty"`

	// Missed is Skip by default.
	Missed Missed `json:"missed,omitempty"`

	// Late is how late a run may be submitted and not count as missed; DefaultLate by default.
	Late Duration `json:"late,omitzero"`

	// Since is when the schedule was set: what was due before does not count. When it is missing, the time at which a
	// scheduler first saw the schedule stands for it.
	Since time.Time `json:"since,omitzero"`

	cron Cron
}

// Duration is a time.Duration that is text in JSON, such as "10m0s".
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Parse reads a definition and reports every mistake at once. Unknown fields are refused.
func Parse(value []byte) (Definition, error) {
	var d Definition
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Definition{}, fmt.Errorf("schedule: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Definition{}, errors.New("schedule: more follows after the object")
	}
	return d.complete()
}

// complete fills in defaults and checks.
func (d Definition) complete() (Definition, error) {
	var errs []error
	var err error
	if d.cron, err = ParseCron(d.Cron, d.Zone); err != nil {
		errs = append(errs, err)
	}
	if err := task.ValidateType(d.Type); err != nil {
		errs = append(errs, err)
	}
	if len(d.Params) > task.MaxParamsBytes {
		errs = append(errs, fmt.Errorf("%d bytes of parameters, at most %d", len(d.Params), task.MaxParamsBytes))
	}
	if d.Late == 0 {
		d.Late = Duration(DefaultLate)
	}
	if d.Late < Duration(time.Minute) || d.Late > Duration(MaxLate) {
		errs = append(errs, fmt.Errorf("late %v: 1m0s to %v", time.Duration(d.Late), MaxLate))
	}
	switch d.Missed {
	case "":
		d.Missed = Skip
	case Skip, Once:
	default:
		errs = append(errs, fmt.Errorf("missed %q: it is %q or %q", d.Missed, Skip, Once))
	}
	return d, errors.Join(errs...)
}

// Encode checks a definition and returns what the settings topic is to hold.
func (d Definition) Encode() ([]byte, error) {
	d, err := d.complete()
	if err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

// Next returns when it is due for the first time after t; zero: never.
func (d Definition) Next(t time.Time) time.Time { return d.cron.Next(t) }

// due returns what is to be submitted at now when everything up to last has been, oldest first; missed tells that others
// were due too long ago.
func (d Definition) due(last, now time.Time) (runs []time.Time, missed bool) {
	late := now.Add(-time.Duration(d.Late))
	from := last
	if late.After(from) {
		from = late.Add(-1) // what is due exactly then is in time
	}
	for at := d.Next(from); !at.IsZero() && !at.After(now); at = d.Next(at) {
		runs = append(runs, at)
	}
	if !late.After(last) {
		return runs, false
	}
	newest := d.newest(last, late.Add(-1))
	switch {
	case newest.IsZero():
		return runs, false
	case d.Missed == Once && len(runs) == 0:
		return []time.Time{newest}, false
	}
	return runs, true
}

// newest returns the newest run that is due after one time and not after another; zero if there is none.
func (d Definition) newest(after, until time.Time) (newest time.Time) {
	for back := time.Hour; ; back *= 4 { // cron can only look ahead: from further and further back
		from := until.Add(-back)
		if from.Before(after) || back > time.Hour*24*3650 {
			from = after
		}
		for at := d.Next(from); !at.IsZero() && !at.After(until); at = d.Next(at) {
			newest = at
		}
		if !newest.IsZero() || from.Equal(after) {
			return newest
		}
	}
}

// Keys in the settings topic.
const (
	keyPrefix  = "schedule/"
	markPrefix = "scheduled/"
)

// MaxNameBytes bounds the name of a schedule.
const MaxNameBytes = 100

// CheckName tells what is wrong with the name of a schedule: it becomes a part of its tasks' ids.
func CheckName(name string) error {
	if len(name) > MaxNameBytes || strings.ContainsAny(name, "/:") {
		return fmt.Errorf("schedule name %.120q: use 1 to %d letters, digits and . _ -", name, MaxNameBytes)
	}
	if err := task.ValidateID(name); err != nil {
		return fmt.Errorf("schedule name: %w", err)
	}
	return nil
}

// Key is the key of a schedule in the settings topic.
func Key(name string) string { return keyPrefix + name }

// MarkKey is the key under which the settings topic keeps the last run of a schedule; see [Mark].
func MarkKey(name string) string { return markPrefix + name }

// NameOf returns the name of the schedule that a key of the settings topic belongs to; mark tells that it is the key of
// its last run.
func NameOf(key string) (name string, mark, ok bool) {
	if name, ok = strings.CutPrefix(key, keyPrefix); ok {
		return name, false, true
	}
	name, ok = strings.CutPrefix(key, markPrefix)
	return name, true, ok
}

// Mark is the last run of a schedule. Later ones are not submitted yet, earlier ones will not be.
type Mark struct {
	Due  time.Time `json:"due"`
	Task string    `json:"task,omitempty"` // empty: none yet, the schedule was seen then for the first time
}

// ParseMark reads what the settings topic has of a last run.
func ParseMark(value []byte) (m Mark, err error) {
	if err := json.Unmarshal(value, &m); err != nil {
		return Mark{}, fmt.Errorf("last run of a schedule: %w", err)
	}
	return m, nil
}

// TaskID is the id of the task of a run: whoever submits it, and however often, it is the same.
func TaskID(name string, due time.Time) string {
	return "schedule:" + name + ":" + due.UTC().Format("20060102T150405Z")
}
