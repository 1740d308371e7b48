package servers

import (
	"errors"
	"fmt"
)

// ErrMissing is wrapped by the error of a start whose program is not installed.
var ErrMissing = errors.New("server program missing")

func missing(program, where string) error {
	return fmt.Errorf("%w: %s (%s): run `make deps`, or name a running server in the environment "+
		"(see `go doc ./test/testkit`); -short leaves tests with real servers out", ErrMissing, program, where)
}
