package work

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// flushEvery bounds how long a line stays in the worker. A worker that is killed takes the lines since then along.
const flushEvery = 5 * time.Millisecond

// Reporter writes what a worker does. It is safe for concurrent use.
type Reporter struct {
	// counting leaves out the lines of single tasks: how many have ended is all that is told.
	counting bool
	ended    atomic.Int64
	first    atomic.Int64

	mu    sync.Mutex
	out   *bufio.Writer
	dirty chan struct{}
}

// NewReporter tells of each task, or with counting only how many have ended, which costs next to nothing.
func NewReporter(out io.Writer, counting bool) *Reporter {
	return &Reporter{counting: counting, out: bufio.NewWriterSize(out, 1<<16), dirty: make(chan struct{}, 1)}
}

// Run passes on what was written, until ctx ends. It writes what is left before it returns.
func (r *Reporter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return r.flush()
		case <-r.dirty:
		}
		select {
		case <-ctx.Done():
		case <-time.After(flushEvery):
		}
		if err := r.flush(); err != nil {
			return err
		}
	}
}

func (r *Reporter) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counting && r.ended.Load() > 0 {
		fmt.Fprintf(r.out, "c %d %d %d\n", r.ended.Load(), time.Now().UnixNano(), r.first.Load())
	}
	return r.out.Flush()
}

// Ready tells that the worker takes tasks.
func (r *Reporter) Ready() { r.line("r\n") }

// Do runs a task and tells about it.
func (r *Reporter) Do(ctx context.Context, t Task, attempt int) error {
	if r.counting {
		r.first.CompareAndSwap(0, time.Now().UnixNano())
		err := t.Run(ctx, attempt)
		r.ended.Add(1)
		r.mark()
		return err
	}
	r.line(fmt.Sprintf("s %d %d %d %d\n", t.N, attempt, time.Now().UnixNano(), t.Sent))
	err := t.Run(ctx, attempt)
	ok := 1
	if err != nil {
		ok = 0
	}
	r.line(fmt.Sprintf("e %d %d %d %d\n", t.N, attempt, time.Now().UnixNano(), ok))
	return err
}

func (r *Reporter) line(text string) {
	r.mu.Lock()
	_, _ = r.out.WriteString(text) // an error stays in the writer, and flush returns it
	r.mu.Unlock()
	r.mark()
}

func (r *Reporter) mark() {
	select {
	case r.dirty <- struct{}{}:
	default:
	}
}

// Kind is what an event tells.
type Kind byte

// The kinds of events.
const (
	Ready Kind = 'r'
	Start Kind = 's'
	End   Kind = 'e'
	Count Kind = 'c' // N tasks have ended; the first started at Sent
)

// Event is a line of a worker.
type Event struct {
	Kind       Kind
	Worker     string
	N, Attempt int
	At         time.Time
	Sent       time.Time
	OK         bool
}

// Read passes on what a worker writes, until it ends.
func Read(worker string, in io.Reader, each func(Event)) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		e, err := parse(lines.Text())
		if err != nil {
			return fmt.Errorf("line %q of %s: %w", lines.Text(), worker, err)
		}
		e.Worker = worker
		each(e)
	}
	return lines.Err()
}

func parse(line string) (Event, error) {
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return Event{}, io.ErrUnexpectedEOF
	}
	numbers := make([]int64, 4)
	for i, text := range fields[1:] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || i >= len(numbers) {
			return Event{}, fmt.Errorf("field %d: %w", i+1, err)
		}
		numbers[i] = n
	}
	e := Event{Kind: Kind(fields[0][0])}
	switch e.Kind {
	case Start:
		e.N, e.Attempt, e.At, e.Sent = int(numbers[0]), int(numbers[1]), time.Unix(0, numbers[2]), time.Unix(0, numbers[3])
	case End:
		e.N, e.Attempt, e.At, e.OK = int(numbers[0]), int(numbers[1]), time.Unix(0, numbers[2]), numbers[3] == 1
	case Count:
		e.N, e.At, e.Sent = int(numbers[0]), time.Unix(0, numbers[1]), time.Unix(0, numbers[2])
	case Ready:
	default:
		return Event{}, fmt.Errorf("unknown kind %q", fields[0])
	}
	return e, nil
}
