package embedded

import (
	"net"
	"sync"
	"time"
)

// readAhead is a connection whose other end never waits for ours to read, as a
// socket's does not before its buffers are full. Else a client that stands
// still would stop a server that publishes to it, and with it all others.
type readAhead struct {
	net.Conn // what is read from
	out      net.Conn
	nudge    chan struct{}

	mu      sync.Mutex
	pending []byte
	ended   bool
}

func newReadAhead(out net.Conn) *readAhead {
	ours, theirs := net.Pipe()
	r := &readAhead{Conn: theirs, out: out, nudge: make(chan struct{}, 1)}
	go r.take()
	go r.pass(ours)
	return r
}

// take reads whatever the other end sends.
func (r *readAhead) take() {
	b := make([]byte, 4<<10)
	for ended := false; !ended; {
		n, err := r.out.Read(b)
		ended = err != nil
		r.mu.Lock()
		r.pending, r.ended = append(r.pending, b[:n]...), ended
		r.mu.Unlock()
		select {
		case r.nudge <- struct{}{}:
		default:
		}
	}
}

// pass hands it on, up to the last byte before the end.
func (r *readAhead) pass(to net.Conn) {
	defer to.Close()
	for range r.nudge {
		r.mu.Lock()
		p, ended := r.pending, r.ended
		r.pending = nil
		r.mu.Unlock()
		if len(p) > 0 {
			if _, err := to.Write(p); err != nil {
				return
			}
		}
		if ended {
			return
		}
	}
}

func (r *readAhead) Write(p []byte) (int, error) { return r.out.Write(p) }

// SetDeadline is about reads: writes do not wait.
func (r *readAhead) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }

// SetWriteDeadline is that of the connection below.
func (r *readAhead) SetWriteDeadline(t time.Time) error { return r.out.SetWriteDeadline(t) }

// Close cuts both directions.
func (r *readAhead) Close() error {
	err := r.Conn.Close()
	if outErr := r.out.Close(); err == nil {
		err = outErr
	}
	return err
}
