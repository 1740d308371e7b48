package task

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Causes of a cancelled worker context: context.Cause(ctx) is one of these,
// or wraps it.
var (
	// ErrCancelled: somebody asked for the task to be cancelled.
	ErrCancelled = errors.New("task cancelled on request")
	// ErrLeaseLost: another node holds the claim now. Whatever this run does
	// from here on will be refused.
	ErrLeaseLost = errors.New("lease lost")
	// ErrLeaseUnknown: the claim could not be renewed within the trust window
	// and the type is not guarded by a store.
	ErrLeaseUnknown = errors.New("lease not confirmed in time")
	// ErrDraining: the node stops and its grace period is over.
	ErrDraining = errors.New("node is draining")
	// ErrStalled: no progress within the type's stall timeout.
	ErrStalled = errors.New("no progress within the stall timeout")
)

// Permanent says that no further attempt can help: the task becomes a dead
// letter at once. It returns nil for a nil error.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent tells whether err, or one it wraps, came from [Permanent].
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// PanicError is what a worker's panic becomes: a failed attempt like any
// other error, with the stack for the dead letter.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Class names an error for dead letters and metrics: the Go type of the
// innermost error that has one of its own, with the first branch of joined
// errors going first; "error" when there are only texts.
func Class(err error) string {
	var p *PanicError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &p):
		return "panic"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline_exceeded"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	if name := innermost(err); name != "" {
		return name
	}
	return "error"
}

// innermost is the type's name of the deepest error that is more than a text
// or a wrapping, or "".
func innermost(err error) string {
	switch e := err.(type) { //nolint:errorlint // the chain is walked here
	case interface{ Unwrap() error }:
		if name := innermost(e.Unwrap()); name != "" {
			return name
		}
	case interface{ Unwrap() []error }:
		for _, branch := range e.Unwrap() {
			if name := innermost(branch); name != "" {
				return name
			}
		}
	case nil:
		return ""
	}
	switch name := fmt.Sprintf("%T", err); name {
	case "*errors.errorString", "*fmt.wrapError", "*fmt.wrapErrors", "*errors.joinError", "*task.permanentError":
		return ""
	default:
		return name
	}
}

// Cut shortens an error's text to what events and letters carry. Bytes that
// are no UTF-8 are replaced: JSON would blow each up to six.
func Cut(text string) string {
	const mark = " …"
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= MaxErrorBytes {
		return text
	}
	end := MaxErrorBytes - len(mark)
	for end > 0 && text[end]&0xC0 == 0x80 { // not in the middle of a rune
		end--
	}
	return text[:end] + mark
}
