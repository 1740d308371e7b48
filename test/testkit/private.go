package testkit

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

// Server is a server of one test's own, for tests that hurt it. Every method fails the test when it does not succeed.
// Methods must be called from one goroutine at a time. The server ends with the test; what it wrote last is logged if
// the test failed.
type Server struct {
	// Addr is host:port and stays the same over restarts.
	Addr string

	t      testing.TB
	server *servers.Server
}

// StartRedis starts a Redis server like that of [Redis], for this test alone. More arguments follow the usual ones
// and win over them: "--maxmemory", "10mb". A server whose arguments name a file is a process, wherever others run: a
// container has no such file.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	options := privateOptions(t)
	if slices.ContainsFunc(args, filepath.IsAbs) {
		options.Where = servers.Local
	}
	server, err := servers.StartRedis(t.Context(), options, servers.RedisConfig{Args: args}, t.TempDir())
	return own(t, server, err)
}

// StartKafka starts a Kafka broker like that of [Kafka], for this test alone. Properties win over the usual ones; nil is
// fine.
func StartKafka(t testing.TB, properties map[string]string) *Server {
	t.Helper()
	options := privateOptions(t)
	server, err := servers.StartKafka(t.Context(), options, servers.KafkaConfig{Properties: properties}, t.TempDir())
	return own(t, server, err)
}

// StartKafkaCluster starts so many brokers for this test alone, as processes, and returns them when each leads its
// partitions. Topics have three replicas and take a record when two have it, unless their maker says otherwise.
func StartKafkaCluster(t testing.TB, brokers int) []*Server {
	t.Helper()
	config := servers.KafkaConfig{HeapMB: 256}
	started, err := servers.StartKafkaCluster(t.Context(), privateOptions(t), config, brokers, t.TempDir())
	if err != nil {
		t.Fatalf("start %d brokers for this test: %v", brokers, err)
	}
	all := make([]*Server, len(started))
	for i, server := range started {
		all[i] = own(t, server, nil)
	}
	return all
}

// StartKafkaBehindProxy starts a broker for this test alone, as a process, with two ways in: its own address, and the
// proxy's, whose clients meet no other. So a test can cut one client off and watch through the other way.
func StartKafkaBehindProxy(t testing.TB) (*Server, *Proxy) {
	t.Helper()
	options := privateOptions(t)
	options.Where = servers.Local
	line, err := servers.NewLine(t.Context())
	if err != nil {
		t.Fatalf("find a port: %v", err)
	}
	proxy := StartProxy(t, line.Listen)
	line.Advertised = proxy.Addr
	server, err := servers.StartKafka(t.Context(), options, servers.KafkaConfig{Line: line}, t.TempDir())
	return own(t, server, err), proxy
}

func privateOptions(t testing.TB) servers.Options {
	t.Helper()
	SkipIfShort(t)
	options, err := servers.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	return options
}

func own(t testing.TB, server *servers.Server, err error) *Server {
	t.Helper()
	if err != nil {
		t.Fatalf("start a server for this test: %v", err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			t.Logf("the last words of %s:\n%s", server, server.Tail(ctx))
		}
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stop %s: %v", server, err)
		}
	})
	return &Server{Addr: server.Addr, t: t, server: server}
}

// String tells what runs where.
func (s *Server) String() string { return s.server.String() }

// Kill ends the server as kill -9 does and returns when it is gone. Its data stays for Restart.
func (s *Server) Kill() {
	s.t.Helper()
	s.must("kill", s.server.Kill)
}

// Terminate asks the server to stop in order and returns when it is gone. Its data stays for Restart.
func (s *Server) Terminate() {
	s.t.Helper()
	s.must("terminate", s.server.Terminate)
}

// Restart starts the ended server on its data and returns when it answers clients.
func (s *Server) Restart() {
	s.t.Helper()
	s.must("restart", s.server.Restart)
}

// Pause stops the server in its tracks (SIGSTOP): connections stay open and nothing answers until Resume.
func (s *Server) Pause() {
	s.t.Helper()
	s.must("pause", s.server.Pause)
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.t.Helper()
	s.must("resume", s.server.Resume)
}

func (s *Server) must(what string, do func(context.Context) error) {
	s.t.Helper()
	if err := do(context.WithoutCancel(s.t.Context())); err != nil {
		s.t.Fatalf("%s %s: %v", what, s.server, err)
	}
}
