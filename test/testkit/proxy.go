package testkit

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy is a line between clients and a server, which a test can hurt. Its methods may be called at any time.
type Proxy struct {
	// Addr is host:port, for clients; Server is where the line ends.
	Addr, Server string

	refusing atomic.Bool
	swallow  [2]atomic.Bool // what goes to the server, to the client
	losing   atomic.Int32   // of 1000 answers, how many are lost with their connection
	latency  atomic.Int64
	open     sync.WaitGroup

	mu   sync.Mutex
	ends map[net.Conn]bool
}

// Direction is one way on a line.
type Direction int

// The ways.
const (
	ToServer Direction = iota
	ToClient
)

// StartProxy listens for clients of the server at addr until the test ends.
func StartProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for a proxy: %v", err)
	}
	p := &Proxy{Addr: listener.Addr().String(), Server: addr, ends: map[net.Conn]bool{}}
	p.open.Go(func() { p.accept(t.Context(), listener) })
	t.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
		p.open.Wait()
	})
	return p
}

// Cut closes every connection and refuses new ones until Heal.
func (p *Proxy) Cut() {
	p.refusing.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.ends {
		_ = conn.Close()
	}
}

// BlackHole swallows what goes one way until Heal. Connections stay open, and nobody is told.
func (p *Proxy) BlackHole(way Direction) { p.swallow[way].Store(true) }

// LoseAnswers closes the connection instead of passing an answer on, for so many of a thousand: the server has done what it
// was asked.
func (p *Proxy) LoseAnswers(ofThousand int) { p.losing.Store(int32(ofThousand)) }

// Delay holds back all that passes, both ways.
func (p *Proxy) Delay(latency time.Duration) { p.latency.Store(int64(latency)) }

// Heal ends every fault. Connections that lost bytes are closed.
func (p *Proxy) Heal() {
	if p.swallow[ToServer].Swap(false) || p.swallow[ToClient].Load() {
		p.swallow[ToClient].Store(false)
		p.Cut()
	}
	p.losing.Store(0)
	p.latency.Store(0)
	p.refusing.Store(false)
}

func (p *Proxy) accept(ctx context.Context, listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		p.open.Go(func() { p.serve(ctx, client) })
	}
}

func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	untrack := p.track(client)
	defer untrack()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.Server)
	if err != nil {
		return
	}
	untrackServer := p.track(server)
	defer untrackServer()
	if p.refusing.Load() {
		return
	}
	p.open.Go(func() {
		defer server.Close()
		p.pass(ToServer, server, client)
	})
	p.pass(ToClient, client, server)
}

// track has Cut know a connection until it is closed by what track returns.
func (p *Proxy) track(conn net.Conn) (untrack func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends[conn] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.ends, conn)
		_ = conn.Close()
	}
}

// pass copies until an end is closed or an answer is lost.
func (p *Proxy) pass(way Direction, to, from net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil || way == ToClient && rand.Int32N(1000) < p.losing.Load() {
			return
		}
		if latency := time.Duration(p.latency.Load()); latency > 0 {
			<-time.After(latency)
		}
		if p.swallow[way].Load() {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}
