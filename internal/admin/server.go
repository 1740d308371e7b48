package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

// Config of [Listen].
type Config struct {
	config.Admin              // where, and under which names
	Metrics      http.Handler // answers /metrics; nil: 404
	Live         []Check      // all must pass for /healthz
	Ready        []Check      // all must pass for /readyz
	Log          *slog.Logger // nil: none
}

// Server answers from Run on.
type Server struct {
	listener net.Listener
	http     *http.Server
}

const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = time.Minute
	stopTimeout  = 5 * time.Second
	maxHeader    = 16 << 10
)

// Listen opens the port, so that one that is taken is told at start. Requests
// wait until Run; a server that never runs must be closed.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin server: %w: set admin.listen to another port, or to nothing", err)
	}
	return &Server{
		listener: listener,
		http: &http.Server{
			Handler:        newHandler(cfg),
			ReadTimeout:    readTimeout,
			WriteTimeout:   writeTimeout,
			IdleTimeout:    idleTimeout,
			MaxHeaderBytes: maxHeader,
			ErrorLog:       slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
		},
	}, nil
}

// Addr is where it listens, with the port that was chosen for port 0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close frees the port of a server that does not run.
func (s *Server) Close() error { return s.listener.Close() }

// Run answers until ctx ends, lets the requests under way finish, and returns
// nil. Let ctx outlive the drain of what is watched: that is when people look.
func (s *Server) Run(ctx context.Context) error {
	var served error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		served = s.http.Serve(s.listener)
	}()
	select {
	case <-ended:
		return fmt.Errorf("admin server: %w", served)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("admin server: requests cut short: %w", errors.Join(err, s.http.Close()))
	}
	<-ended
	return err
}
