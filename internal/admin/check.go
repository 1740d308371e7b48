package admin

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Check tells whether a part of the process is well: nil, or why not. It
// should answer at once; after [MaxCheck] it counts as failed.
type Check struct {
	Name string
	Func func(ctx context.Context) error
}

// MaxCheck is how long a check may take.
const MaxCheck = 3 * time.Second

var errHangs = errors.New("does not answer")

// probe runs a check for many who ask. One that hangs is not started again, so
// that asking does not pile up goroutines.
type probe struct {
	Check

	mu      sync.Mutex
	pending chan struct{} // closed when the run under way ends; nil: none
	last    error         // of the last run that ended
}

func newProbes(checks []Check) []*probe {
	probes := make([]*probe, 0, len(checks))
	for _, c := range checks {
		probes = append(probes, &probe{Check: c})
	}
	return probes
}

// ask runs all checks side by side.
func ask(ctx context.Context, probes []*probe) status {
	ctx, cancel := context.WithTimeout(ctx, MaxCheck)
	defer cancel()
	for _, p := range probes {
		p.begin(ctx)
	}
	s := status{OK: true, Checks: map[string]string{}}
	for _, p := range probes {
		s.Checks[p.Name] = "ok"
		if err := p.wait(ctx); err != nil {
			s.OK, s.Checks[p.Name] = false, err.Error()
		}
	}
	return s
}

// begin starts a run unless one is under way.
func (p *probe) begin(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending != nil {
		return
	}
	ended := make(chan struct{})
	p.pending = ended
	// The run outlives who asked: others may wait for it too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), MaxCheck)
	go func() {
		defer cancel()
		err := p.Func(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.last, p.pending = err, nil
		close(ended)
	}()
}

// wait returns what the run under way, or the last one, says.
func (p *probe) wait(ctx context.Context) error {
	p.mu.Lock()
	pending := p.pending
	p.mu.Unlock()
	if pending != nil {
		select {
		case <-pending:
		case <-ctx.Done():
			return errHangs
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}
