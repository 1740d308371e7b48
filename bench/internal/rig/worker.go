package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/offline-nodes/offline-nodes/bench/internal/system"
	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

// WorkerCommand is the word after which this program is a worker.
const WorkerCommand = "worker"

// Worker is a process that runs tasks.
type Worker struct {
	Spec system.Spec

	cmd   *exec.Cmd
	ended <-chan struct{}
	read  chan struct{}
	log   string
}

// Journal gathers what workers tell. It is safe for concurrent use.
type Journal struct {
	mu     sync.Mutex
	events []work.Event
	counts map[string]work.Event
	more   chan struct{}
	err    error
}

// NewJournal is an empty one.
func NewJournal() *Journal {
	return &Journal{counts: map[string]work.Event{}, more: make(chan struct{})}
}

func (j *Journal) add(e work.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Kind == work.Count {
		j.counts[e.Worker] = e
	} else {
		j.events = append(j.events, e)
	}
	close(j.more)
	j.more = make(chan struct{})
}

func (j *Journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = errors.Join(j.err, err)
	close(j.more)
	j.more = make(chan struct{})
}

// Events are those so far, in the order of their arrival.
func (j *Journal) Events() []work.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clip(j.events)
}

// Counted is how many tasks counting workers have ended, and when the first started.
func (j *Journal) Counted() (n int, first time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.counts {
		n += c.N
		if first.IsZero() || c.Sent.Before(first) {
			first = c.Sent
		}
	}
	return n, first
}

// Await waits until ok says so; it is asked after every event.
func (j *Journal) Await(ctx context.Context, ok func() bool) error {
	for {
		j.mu.Lock()
		more, err := j.more, j.err
		j.mu.Unlock()
		if err != nil {
			return err
		}
		if ok() {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Worker starts a worker, and returns when it takes tasks.
func (r *Rig) Worker(ctx context.Context, spec system.Spec, journal *Journal) (*Worker, error) {
	w, err := r.start1(ctx, spec, journal)
	if err != nil {
		return nil, err
	}
	ready := func() bool {
		for _, e := range journal.Events() {
			if e.Kind == work.Ready && e.Worker == spec.Worker {
				return true
			}
		}
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := journal.Await(ctx, ready); err != nil {
		text, _ := os.ReadFile(w.log) // that it is not ready is the error; the log only helps
		return nil, errors.Join(fmt.Errorf("worker %s of %s is not ready: %w\n%s", spec.Worker, spec, err, text), w.Kill())
	}
	return w, nil
}

// start1 starts a worker whose lines go into the journal.
func (r *Rig) start1(ctx context.Context, spec system.Spec, journal *Journal) (*Worker, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	lines, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	w := &Worker{Spec: spec, read: make(chan struct{}), log: filepath.Join(r.dir, spec.Space+"-"+spec.Worker+".log")}
	log, err := os.Create(w.log)
	if err != nil {
		return nil, err
	}
	w.cmd = exec.CommandContext(context.WithoutCancel(ctx), self, WorkerCommand, string(text))
	w.cmd.Stdout, w.cmd.Stderr = out, log
	w.ended, err = spawn(w.cmd, nil)
	if err := errors.Join(err, out.Close(), log.Close()); err != nil {
		return nil, errors.Join(err, lines.Close())
	}
	go func() {
		defer close(w.read)
		defer lines.Close()
		if err := work.Read(spec.Worker, lines, journal.add); err != nil {
			journal.fail(err)
		}
	}()
	return w, nil
}

// PID is the process's number.
func (w *Worker) PID() int { return w.cmd.Process.Pid }

// CPU is the processor time that the worker has used.
func (w *Worker) CPU() (time.Duration, error) {
	select {
	case <-w.ended:
		return w.cmd.ProcessState.SystemTime() + w.cmd.ProcessState.UserTime(), nil
	default:
		return CPU(w.PID())
	}
}

// Kill ends the worker as kill -9 does, and returns when all that it told has been read. One that has ended is fine.
func (w *Worker) Kill() error {
	if err := w.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-w.ended
	<-w.read
	return nil
}

// Terminate tells the worker to stop in its own way; it returns at once.
func (w *Worker) Terminate() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Stop tells the worker to stop, and kills it when it has not after a while.
func (w *Worker) Stop(within time.Duration) error {
	if err := w.Terminate(); err != nil {
		return err
	}
	select {
	case <-w.ended:
		<-w.read
		return nil
	case <-time.After(within):
		return w.Kill()
	}
}

// Ended is closed when the process is gone.
func (w *Worker) Ended() <-chan struct{} { return w.ended }
