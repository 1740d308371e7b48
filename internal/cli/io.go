package cli

import (
	"context"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/term"
)

// IO is what a program has to do with its surroundings. Tests make their own.
type IO struct {
	In       io.Reader
	Out, Err io.Writer

	// Width is the columns of the terminal that Out is; 0: it is none, and
	// nothing is cut.
	Width int
	// Live is the columns of the terminal that Err is; 0: it is none, and no
	// progress is shown.
	Live int
	// InTerminal tells that a person types what In reads.
	InTerminal bool

	// Environ is the environment; nil: that of the process.
	Environ []string
	Now     func() time.Time
	// KafkaDialer and RedisDialer replace the network; nil: they do not.
	KafkaDialer, RedisDialer func(ctx context.Context, network, addr string) (net.Conn, error)
}

// System is the process's own.
func System() *IO {
	return &IO{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Width: columns(os.Stdout), Live: columns(os.Stderr), InTerminal: term.IsTerminal(int(os.Stdin.Fd())),
		Now: time.Now,
	}
}

// columns is a terminal's width, or 0 for anything else.
func columns(f *os.File) int {
	if !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}
