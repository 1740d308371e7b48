package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Kind is a kind of server.
type Kind string

// The servers that can be run.
const (
	Kafka Kind = "kafka"
	Redis Kind = "redis"
	S3    Kind = "s3"
)

const (
	readyTimeout = 90 * time.Second
	probeEvery   = 50 * time.Millisecond
	stopTimeout  = 20 * time.Second
	startTries   = 3
	tailLines    = 40
)

// runner starts and signals one server, as a process or as a container.
type runner interface {
	start(ctx context.Context) error
	signal(ctx context.Context, sig syscall.Signal) error
	exited() <-chan struct{}
	remove(ctx context.Context) error
	output(ctx context.Context) ([]byte, error)
}

// Server is one running server. Its methods are not safe for concurrent use.
type Server struct {
	Kind Kind
	// Addr is host:port; for S3 it is the endpoint URL. It stays the same over restarts.
	Addr string
	// Version is what the server or its files say; How is "process" or "container".
	Version, How string

	run   runner
	probe func(ctx context.Context) (version string, err error)
}

// String tells what runs where, for a test's log.
func (s *Server) String() string {
	return fmt.Sprintf("%s %s (%s) at %s", s.Kind, s.Version, s.How, s.Addr)
}

// Kill ends the server as kill -9 does and waits until it is gone. Its data stays for Restart.
func (s *Server) Kill(ctx context.Context) error { return s.end(ctx, syscall.SIGKILL) }

// Terminate asks the server to stop in order and waits until it is gone. Its data stays for Restart.
func (s *Server) Terminate(ctx context.Context) error { return s.end(ctx, syscall.SIGTERM) }

// Pause stops the server without ending it (SIGSTOP): connections stay open and nothing answers.
func (s *Server) Pause(ctx context.Context) error { return s.run.signal(ctx, syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume(ctx context.Context) error { return s.run.signal(ctx, syscall.SIGCONT) }

// Restart starts an ended server on the same port and data, and waits until it answers.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.run.start(ctx); err != nil {
		return fmt.Errorf("restart %s: %w", s.Kind, err)
	}
	return s.awaitReady(ctx)
}

// Stop ends the server at once and removes what it ran in, but not the data folder that its caller gave. A server that
// has ended already is no error.
func (s *Server) Stop(ctx context.Context) error {
	var err error
	if !s.hasEnded() {
		err = s.Kill(ctx)
	}
	return errors.Join(err, s.run.remove(ctx))
}

// Tail returns the last lines that the server wrote.
func (s *Server) Tail(ctx context.Context) string {
	out, err := s.run.output(ctx)
	if err != nil {
		return fmt.Sprintf("(no output: %v)", err)
	}
	return lastLines(out, tailLines)
}

func (s *Server) end(ctx context.Context, sig syscall.Signal) error {
	if err := s.run.signal(ctx, sig); err != nil {
		return fmt.Errorf("end %s: %w", s.Kind, err)
	}
	select {
	case <-s.run.exited():
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("end %s: still there %v after %v", s.Kind, stopTimeout, sig)
	case <-ctx.Done():
		return fmt.Errorf("end %s: %w", s.Kind, ctx.Err())
	}
}

func (s *Server) hasEnded() bool {
	select {
	case <-s.run.exited():
		return true
	default:
		return false
	}
}

// awaitReady asks until the server answers. A server that ended has its last words in the error.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		version, err := s.probe(ctx)
		if err == nil {
			s.Version = version
			return nil
		}
		select {
		case <-s.run.exited():
			return fmt.Errorf("%w: %s on %s\n%s", errEnded, s.Kind, s.Addr, s.Tail(context.WithoutCancel(ctx)))
		case <-ctx.Done():
			return fmt.Errorf("%s on %s does not answer: %w\n%s", s.Kind, s.Addr, err, s.Tail(context.WithoutCancel(ctx)))
		case <-tick.C:
		}
	}
}

var errEnded = errors.New("server ended while it started")

// begin makes a server by build and starts it, on another port when it ended at once: somebody else may have taken the
// first.
func begin(ctx context.Context, dir string, build func(port int, dir string) (*Server, error)) (*Server, error) {
	var err error
	for try := range startTries {
		var server *Server
		server, err = beginOnce(ctx, filepath.Join(dir, fmt.Sprint(try)), build)
		if err == nil {
			return server, nil
		}
		if !errors.Is(err, errEnded) {
			return nil, err
		}
	}
	return nil, err
}

func beginOnce(ctx context.Context, dir string, build func(port int, dir string) (*Server, error)) (*Server, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	server, err := build(port, dir)
	if err != nil {
		return nil, err
	}
	if err := server.run.start(ctx); err != nil {
		return nil, errors.Join(err, server.run.remove(context.WithoutCancel(ctx)))
	}
	if err := server.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, server.Stop(context.WithoutCancel(ctx)))
	}
	return server, nil
}

func lastLines(text []byte, count int) string {
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	if len(lines) > count {
		lines = lines[len(lines)-count:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
