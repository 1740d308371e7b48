package datanode

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// bulk is one call of Bulk on its way to a commit.
type bulk struct {
	ops   []Op
	bytes int

	lead chan struct{} // closed: the caller commits the next group, of which it is the first
	done chan struct{} // closed: written and err are valid

	written Written
	err     error
}

// line holds the bulks that wait for their commit. The first caller commits for all who wait, then hands over to the
// first of those who came meanwhile: writes that come together share a commit, and no goroutine is kept for it.
type line struct {
	maxBytes, groupBytes int

	mu      sync.Mutex
	waiting []*bulk
	bytes   int // of those that wait or are being committed
	leading bool
}

// enter puts a bulk into the line.
func (l *line) enter(b *bulk) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.count(b.bytes); err != nil {
		return err
	}
	l.waiting = append(l.waiting, b)
	if !l.leading {
		l.leading = true
		close(b.lead)
	}
	return nil
}

// count adds bytes to those that wait, unless there are too many; the lock is held.
func (l *line) count(bytes int) error {
	if l.bytes > 0 && l.bytes+bytes > l.maxBytes {
		return fmt.Errorf("%w: %s of writes wait for their commit, at most %s may", ErrBusy, size(int64(l.bytes)), size(int64(l.maxBytes)))
	}
	l.bytes += bytes
	return nil
}

// counted counts ops among those that wait while it waits for something else than a commit.
func (l *line) counted(ops []Op, wait func() error) error {
	bytes := bytesOfOps(ops)
	l.mu.Lock()
	err := l.count(bytes)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		l.mu.Lock()
		l.bytes -= bytes
		l.mu.Unlock()
	}()
	return wait()
}

func bytesOfOps(ops []Op) (sum int) {
	for _, op := range ops {
		sum += op.bytes()
	}
	return sum
}

// leave takes a bulk out of the line; false says that it is being committed.
func (l *line) leave(b *bulk) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, b)
	if i < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	l.bytes -= b.bytes
	select {
	case <-b.lead:
		l.next()
	default:
	}
	return true
}

// group takes out who is committed together: the first in the line, and those behind it that still fit.
func (l *line) group() []*bulk {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 0, 0
	for _, b := range l.waiting {
		if n > 0 && bytes+b.bytes > l.groupBytes {
			break
		}
		n++
		bytes += b.bytes
	}
	group := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	return group
}

// finish answers a group and lets the next one go.
func (l *line) finish(group []*bulk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range group {
		l.bytes -= b.bytes
		close(b.done)
	}
	l.next()
}

// next hands over; the lock is held.
func (l *line) next() {
	if len(l.waiting) == 0 {
		l.leading = false
		return
	}
	close(l.waiting[0].lead)
}

// pending returns the bytes that wait or are being committed.
func (l *line) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// write waits until ops are committed. commit is called with groups of bulks, one group at a time.
func (l *line) write(ctx context.Context, ops []Op, commit func(ctx context.Context, group []*bulk)) (Written, error) {
	b := &bulk{ops: ops, bytes: bytesOfOps(ops), lead: make(chan struct{}), done: make(chan struct{})}
	if err := l.enter(b); err != nil {
		return Written{}, err
	}
	select {
	case <-b.done:
	case <-b.lead:
		group := l.group()
		commit(context.WithoutCancel(ctx), group) // others wait for it too, and half a commit helps nobody
		l.finish(group)
	case <-ctx.Done():
		if l.leave(b) {
			return Written{}, context.Cause(ctx)
		}
		return Written{}, fmt.Errorf("%w: %w while the write was being committed", ErrUnknown, context.Cause(ctx))
	}
	return b.written, b.err
}
