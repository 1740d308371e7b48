package history

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy passes connections on to a server and loses some of its answers,
// together with their connection.
type proxy struct {
	listener net.Listener
	server   string
	losing   atomic.Int32 // of 1000 answers, how many are lost
	open     sync.WaitGroup
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, server: server}
	p.open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.open.Go(func() { p.serve(t.Context(), conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.open.Wait()
	})
	return p
}

func (p *proxy) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.open.Go(func() {
		defer server.Close()
		pass(server, client, func() bool { return false })
	})
	pass(client, server, func() bool { return rand.Int32N(1000) < p.losing.Load() })
}

// pass copies until an end is closed or something is lost.
func pass(to, from net.Conn, lost func() bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil || lost() {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}
