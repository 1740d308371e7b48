package cli

import (
	"errors"
	"fmt"
)

// Code is an exit status: the same numbers in every program.
type Code int

// The exit statuses.
const (
	Done      Code = 0
	NotDone   Code = 1
	Failed    Code = 2
	Cancelled Code = 3
	Unknown   Code = 4
)

// Codes documents the exit statuses, for help texts.
const Codes = `Exit status:
  0  done: what was asked for happened; tasks that were waited for: SUCCESS
  1  not done: wrong usage or settings, or Kafka or Redis does not answer
  2  a task FAILED, was refused or is not there
  3  a task was CANCELLED
  4  not known: stopped before the end, or no answer whether Kafka has a task
Of several the first of 1, 2, 4, 3 counts.`

// Worse is the status of two things of which one ended with c and one with d.
func (c Code) Worse(d Code) Code {
	for _, code := range []Code{NotDone, Failed, Unknown, Cancelled} {
		if c == code || d == code {
			return code
		}
	}
	return Done
}

// ExitError is an error that says which status the program ends with.
type ExitError struct {
	Code Code
	Err  error // nil: everything was said
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// End ends the program with a status, when everything was said; nil for [Done].
func End(code Code) error {
	if code == Done {
		return nil
	}
	return &ExitError{Code: code}
}

// Usage is the error of a command line that makes no sense.
func Usage(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// codeOf is the status that an error stands for.
func codeOf(err error) Code {
	if err == nil {
		return Done
	}
	if exit, ok := errors.AsType[*ExitError](err); ok {
		return exit.Code
	}
	return NotDone
}
