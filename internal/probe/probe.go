// Package probe is a task type that does nothing but behave as it is told:
// for trying a fleet out, for tests and for measurements.
package probe

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Type is the task type's name.
const Type = "probe"

// Params say how a probe behaves.
type Params struct {
	For   Duration `json:"for,omitzero"`    // how long it runs
	Fail  int      `json:"fail,omitempty"`  // this many first attempts fail
	Panic bool     `json:"panic,omitempty"` // instead of failing
	Fatal bool     `json:"fatal,omitempty"` // fail for good
	Echo  string   `json:"echo,omitempty"`  // its result

	Silent bool `json:"silent,omitempty"` // it reports nothing while it runs
	Deaf   bool `json:"deaf,omitempty"`   // it goes on when it is told to stop
	Hold   int  `json:"hold,omitempty"`   // bytes of memory that it keeps while it runs
}

// MaxHold bounds Hold: a probe tries a memory limit out, it does not take a machine down.
const MaxHold = 512 << 20

// Validate refuses what no probe can do.
func (p Params) Validate() error {
	if p.For < 0 || p.Fail < 0 {
		return errors.New("for and fail must not be negative")
	}
	if p.Hold < 0 || p.Hold > MaxHold {
		return fmt.Errorf("hold must be 0 to %d bytes", MaxHold)
	}
	return nil
}

// Describe says what the probe will do.
func (p Params) Describe() string {
	switch {
	case p.Fatal:
		return "fail for good"
	case p.Fail > 0:
		return fmt.Sprintf("run for %s, fail %d times", time.Duration(p.For), p.Fail)
	}
	return fmt.Sprintf("run for %s", time.Duration(p.For))
}

// Register adds the type to mux.
func Register(mux *task.Mux, options ...task.Option) {
	task.Handle(mux, Type, work, append([]task.Option{task.Slots(4)}, options...)...)
}

// checkpoint is how long a probe has run already.
type checkpoint struct {
	Ran Duration `json:"ran"`
}

func work(ctx context.Context, run *task.Run[Params]) error {
	p := run.Params
	var done checkpoint
	run.Resume(&done)
	held := hold(p.Hold)
	defer runtime.KeepAlive(held)
	stopped := ctx.Done()
	if p.Deaf {
		stopped = nil
	}
	const step = 200 * time.Millisecond
	for done.Ran < p.For {
		select {
		case <-stopped:
			return ctx.Err()
		case <-time.After(min(step, time.Duration(p.For-done.Ran))):
		}
		done.Ran += Duration(min(step, time.Duration(p.For-done.Ran)))
		if p.Silent {
			continue
		}
		run.Progress(float64(done.Ran)/float64(p.For), fmt.Sprintf("%s of %s", time.Duration(done.Ran), time.Duration(p.For)))
		if err := run.Checkpoint(done); err != nil {
			return err
		}
	}
	switch {
	case p.Fatal:
		return task.Permanent(errors.New("told to fail for good"))
	case run.Attempt <= p.Fail && p.Panic:
		panic("told to panic")
	case run.Attempt <= p.Fail:
		return fmt.Errorf("told to fail attempts 1 to %d", p.Fail)
	case p.Echo != "":
		return run.SetResult(map[string]string{"echo": p.Echo})
	}
	return nil
}

// hold is memory that the machine must really provide: every page is written to.
func hold(size int) []byte {
	const page = 4096
	held := make([]byte, size)
	for i := 0; i < size; i += page {
		held[i] = 1
	}
	return held
}

// Duration is a time.Duration that JSON writes as "1m30s".
type Duration time.Duration

// MarshalText writes it as time.Duration prints itself.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration takes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
