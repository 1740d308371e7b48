package merge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// phase is a part of a run. Its weight is its usual share of the time: merging is what takes long.
type phase struct {
	name        string
	start, size float64
}

var (
	downloading = phase{"download", 0, 0.1}
	merging     = phase{"merge", 0.1, 0.75}
	uploading   = phase{"upload", 0.85, 0.13}
	committing  = phase{"commit", 0.98, 0.02}
)

// reportEvery is how often a run looks whether it got on. A beat takes what was reported last.
const reportEvery = time.Second

// progress turns bytes into what the task reports. A run that moves and writes nothing reports nothing, and so is found
// to be stalled.
type progress struct {
	x     *task.Execution
	meter remotestore.Meter

	mu      sync.Mutex
	phase   phase
	total   int64 // bytes of the phase
	before  int64 // bytes moved before the phase
	written int64 // by a merge
	told    int64 // done when it was reported last; -1 in a new phase
	counted int64 // bytes moved that the task knows of
}

func newProgress(x *task.Execution) *progress {
	return &progress{x: x, phase: downloading}
}

// run counts what moves under the context it returns, and reports until stop, which reports for the last time.
func (p *progress) run(ctx context.Context) (counting context.Context, stop func()) {
	return remotestore.WithMeter(ctx, &p.meter), p.x.ReportEvery(reportEvery, p.report)
}

// enter begins a phase of so many bytes.
func (p *progress) enter(next phase, total int64) {
	p.mu.Lock()
	p.phase, p.total, p.before, p.written, p.told = next, total, p.meter.Moved(), 0, -1
	p.mu.Unlock()
	p.report()
}

// wrote notes the bytes that a merge has written so far.
func (p *progress) wrote(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written = bytes
}

// report tells the task how far it is, if it got on.
func (p *progress) report() {
	p.count()
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.written
	if p.phase != merging {
		done = p.meter.Moved() - p.before
	}
	if done == p.told {
		return
	}
	p.told = done
	share := 0.0
	if p.total > 0 {
		share = min(float64(done)/float64(p.total), 1)
	}
	note := p.phase.name
	if p.total > 0 {
		note = fmt.Sprintf("%s: %d of %d MB", p.phase.name, min(done, p.total)/1e6, p.total/1e6)
	}
	p.x.Progress(p.phase.start+p.phase.size*share, note)
}

// count adds the bytes moved to the task's.
func (p *progress) count() {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := p.meter.Moved()
	p.x.Moved(moved - p.counted)
	p.counted = moved
}
