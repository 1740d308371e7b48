//go:build synctests

package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// side is one of the two servers that a process talks to.
type side int

const (
	kafka side = iota
	redis
)

// fate is what becomes of what a process sends to a server, and of the answers.
type fate int

const (
	delivered fate = iota
	refused        // connections are cut, and new ones refused
	silent         // nothing arrives, nothing comes back, nobody is told
	deaf           // requests arrive, answers do not
)

// errDead refuses what a dead process tries at the object store.
var errDead = errors.New("the process is dead")

// errRefused is what a network says: clients pause after such an error, and
// after others they may not.
var errRefused error = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// link is everything that one process sends and receives.
type link struct {
	dial [2]func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	ice   chan struct{} // closed at the thaw; nil while not frozen
	dead  bool
	fates [2]fate
	lose  [2]int // answers that are still to be lost
	conns map[*conn]struct{}
}

func (l *link) to(s side) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if s == kafka {
			l.thawed(nil)
		}
		l.mu.Lock()
		dead, f, away := l.dead, l.fates[s], l.fates[s] != delivered || l.ice != nil
		l.mu.Unlock()
		switch {
		// go-redis connects under a mutex: whoever waits for that is not at rest, and fake time would stand still.
		case dead, f == refused, s == redis && away:
			return nil, errRefused
		case f != delivered:
			select {
			case <-ctx.Done():
			case <-time.After(3 * time.Second):
			}
			return nil, errRefused
		}
		inner, err := l.dial[s](ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, link: l, server: s, closed: make(chan struct{})}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.dead {
			inner.Close()
			return nil, errRefused
		}
		l.conns[c] = struct{}{}
		return c, nil
	}
}

// freeze stops the process until thaw, as far as it uses the link or asks thawed.
func (l *link) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ice == nil && !l.dead {
		l.ice = make(chan struct{})
	}
}

func (l *link) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ice != nil {
		close(l.ice)
		l.ice = nil
	}
}

// thawed blocks while the process is frozen, or until the channel is closed.
func (l *link) thawed(closed <-chan struct{}) {
	for {
		l.mu.Lock()
		ice := l.ice
		l.mu.Unlock()
		if ice == nil {
			return
		}
		select {
		case <-ice:
		case <-closed:
			return
		}
	}
}

// kill cuts everything for good: a dead process sends nothing any more.
func (l *link) kill() {
	l.mu.Lock()
	l.dead = true
	l.mu.Unlock()
	l.thaw()
	l.reset(kafka)
	l.reset(redis)
}

func (l *link) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// set changes a server's fate. Connections that lost something are cut when
// all is well again: what was sent meanwhile is not sent again.
func (l *link) set(s side, f fate) {
	l.mu.Lock()
	l.fates[s] = f
	l.mu.Unlock()
	if f == refused || f == delivered {
		l.reset(s)
	}
}

// loseAnswers makes the next n answers of a server vanish, with their connection.
func (l *link) loseAnswers(s side, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose[s] = n
}

func (l *link) reset(s side) {
	l.mu.Lock()
	var cut []*conn
	for c := range l.conns {
		if c.server == s {
			cut = append(cut, c)
		}
	}
	l.mu.Unlock()
	for _, c := range cut {
		c.Close()
	}
}

// conn is one connection of a link.
type conn struct {
	net.Conn
	link   *link
	server side
	once   sync.Once
	closed chan struct{}
	ready  atomic.Bool // to Redis: it is past the words of welcome, which go-redis exchanges under a mutex
}

// mayWait tells whether fake time may go on before a call on the connection returns.
func (c *conn) mayWait() bool { return c.server == kafka || c.ready.Load() }

func (c *conn) thawed() {
	if c.mayWait() {
		c.link.thawed(c.closed)
	}
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		c.thawed()
		n, err := c.Conn.Read(b)
		c.thawed()
		if err != nil {
			return n, err
		}
		c.link.mu.Lock()
		f, lost := c.link.fates[c.server], c.link.lose[c.server] > 0
		if lost {
			c.link.lose[c.server]--
		}
		c.link.mu.Unlock()
		switch {
		case lost, f != delivered && !c.mayWait():
			c.Close()
			return 0, io.ErrUnexpectedEOF
		case f == delivered:
			return n, nil
		}
	}
}

// longestDelay is how long a message may take.
const longestDelay = 2 * time.Millisecond

func (c *conn) Write(b []byte) (int, error) {
	// A subscription writes under its mutex, the calls of scripts do not.
	call := c.server == redis && bytes.Contains(b, []byte("evalsha"))
	if call || bytes.Contains(b, []byte("subscribe")) {
		c.ready.Store(true)
	}
	if call || c.server == kafka {
		c.thawed()
		time.Sleep(rand.N(longestDelay))
	}
	c.link.mu.Lock()
	f := c.link.fates[c.server]
	c.link.mu.Unlock()
	switch f {
	case silent:
		return len(b), nil
	case refused:
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(b)
	}
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.link.mu.Lock()
		delete(c.link.conns, c)
		c.link.mu.Unlock()
	})
	return c.Conn.Close()
}
