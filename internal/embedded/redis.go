package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

func (s *Servers) startRedis(ctx context.Context, options Options) error {
	s.Redis = miniredis.NewMiniRedis()
	s.Redis.ClockTTL(true)
	first, err := s.Redis.Dial() // starts it without a port
	if err != nil {
		return err
	}
	if err := first.Close(); err != nil {
		return err
	}
	s.redisHook = options.RedisHook
	s.Redis.Server().SetPreHook(s.hook(info(newRunID())))
	if options.InMemory {
		s.RedisDialer = func(context.Context, string, string) (net.Conn, error) {
			conn, err := s.Redis.Dial()
			if err != nil {
				return nil, err
			}
			return newReadAhead(newBuffered(conn)), nil
		}
		s.Addresses.Redis = "localhost:6379"
		return nil
	}
	listener, err := listen(ctx, options.RedisAddr)
	if err != nil {
		s.Redis.Close()
		return err
	}
	s.redisPort = open(listener, s.Redis.Server())
	s.Addresses.Redis = listener.Addr().String()
	return nil
}

// port hands what connects to a listener to a server. miniredis can open a
// port itself, but neither takes a listener nor a context.
type port struct {
	listener net.Listener
	accepted sync.WaitGroup
}

func open(listener net.Listener, to *server.Server) *port {
	p := &port{listener: listener}
	p.accepted.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			to.ServeConn(conn)
		}
	})
	return p
}

// close returns when no further connection can reach the server.
func (p *port) close() {
	_ = p.listener.Close()
	p.accepted.Wait()
}

// RestartRedis stands for a server that was killed and started again without
// its data: it is empty and has another run id. Connections stay open.
func (s *Servers) RestartRedis() {
	s.Redis.FlushAll()
	s.Redis.Server().SetPreHook(s.hook(info(newRunID())))
}

// hook calls Options.RedisHook first, if there is one.
func (s *Servers) hook(next server.Hook) server.Hook {
	first := s.redisHook
	if first == nil {
		return next
	}
	return func(peer *server.Peer, command string, args ...string) bool {
		return first(peer, command, args...) || next(peer, command, args...)
	}
}

func newRunID() string {
	id := make([]byte, 20)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// info answers the sections of INFO that miniredis lacks and the claims ask for.
func info(runID string) server.Hook {
	names := []string{"server", "memory", "persistence", "replication", "cluster"}
	sections := map[string]string{
		"server":      "# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\nrun_id:" + runID + "\r\n",
		"memory":      "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n",
		"persistence": "# Persistence\r\nloading:0\r\naof_enabled:0\r\nrdb_bgsave_in_progress:0\r\n",
		"replication": "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n",
		"cluster":     "# Cluster\r\ncluster_enabled:0\r\n",
	}
	return func(peer *server.Peer, command string, args ...string) bool {
		if command != "INFO" {
			return false
		}
		if len(args) == 0 {
			args = names
		}
		var text strings.Builder
		for _, name := range args {
			section, known := sections[strings.ToLower(name)]
			if !known {
				return false // miniredis knows clients and stats, and refuses the rest
			}
			text.WriteString(section)
		}
		peer.WriteBulk(text.String())
		return true
	}
}
