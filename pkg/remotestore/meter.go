package remotestore

import (
	"context"
	"io"
	"sync/atomic"
)

// Meter counts the payload bytes that pass between this process and stores, while they pass: a long download moves it
// all the time. Bytes that are sent again after a failure count again. The zero value is ready and safe for
// concurrent use.
type Meter struct {
	read, written atomic.Int64
}

// Read returns the bytes read from stores.
func (m *Meter) Read() int64 { return m.read.Load() }

// Written returns the bytes written to stores.
func (m *Meter) Written() int64 { return m.written.Load() }

// Moved returns the bytes moved either way.
func (m *Meter) Moved() int64 { return m.Read() + m.Written() }

type meterKey struct{}

// WithMeter returns a context whose store calls count into m. A meter that is already there goes on counting too.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, meters{m, meterOf(ctx)})
}

// meters is a chain: the inner meter, then the chain it was put on top of.
type meters struct {
	meter *Meter
	next  any
}

func meterOf(ctx context.Context) any { return ctx.Value(meterKey{}) }

func countRead(ctx context.Context, n int64) {
	for at, ok := meterOf(ctx).(meters); ok; at, ok = at.next.(meters) {
		at.meter.read.Add(n)
	}
}

func countWritten(ctx context.Context, n int64) {
	for at, ok := meterOf(ctx).(meters); ok; at, ok = at.next.(meters) {
		at.meter.written.Add(n)
	}
}

// meteredReader calls count for every piece that is read through it, and ends with the context.
type meteredReader struct {
	ctx   context.Context //nolint:containedctx // lives for one copy
	r     io.Reader
	count func(context.Context, int64)
}

func (m meteredReader) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.count(m.ctx, int64(n))
	return n, err
}
