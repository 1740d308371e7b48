package embedded

import (
	"net"
	"sync"
	"time"
)

// buffered is a connection in memory whose writes do not wait for the other
// end to read, as a socket's do not. net.Pipe has no buffer: a client that
// sends a long pipeline while the server already answers it would wait for the
// server, which waits for the client.
type buffered struct {
	net.Conn
	wrote chan struct{} // something is in pending
	done  chan struct{} // closed by Close
	ended chan struct{} // closed when nothing is passed on any more

	mu      sync.Mutex
	pending []byte
	err     error // of passing on
	closed  bool
}

func newBuffered(conn net.Conn) *buffered {
	b := &buffered{Conn: conn, wrote: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
	go b.pass()
	return b
}

// Write takes everything at once; the error is that of an earlier one.
func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, net.ErrClosed
	}
	if b.err != nil {
		return 0, b.err
	}
	b.pending = append(b.pending, p...)
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

// pass hands on what was written until the connection is closed.
func (b *buffered) pass() {
	defer close(b.ended)
	for {
		select {
		case <-b.done:
			return
		case <-b.wrote:
		}
		b.mu.Lock()
		p := b.pending
		b.pending = nil
		b.mu.Unlock()
		if _, err := b.Conn.Write(p); err != nil {
			b.mu.Lock()
			b.err = err
			b.mu.Unlock()
			return
		}
	}
}

// SetDeadline is about reads: writes do not wait.
func (b *buffered) SetDeadline(t time.Time) error { return b.SetReadDeadline(t) }

// SetWriteDeadline has no effect: writes do not wait.
func (b *buffered) SetWriteDeadline(time.Time) error { return nil }

// Close cuts the connection; what was not passed on is lost.
func (b *buffered) Close() error {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	b.mu.Unlock()
	if first {
		close(b.done)
	}
	err := b.Conn.Close()
	<-b.ended
	return err
}
