package snapshot

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// reportEvery is how often a run looks whether it got on. A beat takes what was reported last.
const reportEvery = time.Second

// progress turns the bytes that move into what the task reports. A run that moves none reports nothing, and so is found to
// be stalled.
type progress struct {
	x     *task.Execution
	meter remotestore.Meter
	note  string

	mu      sync.Mutex
	total   int64 // bytes of blobs that this run is to move
	counted int64 // bytes that the task knows of
}

// watch counts what moves under the context it returns, and reports until stop, which reports for the last time.
func watch(ctx context.Context, x *task.Execution, note string) (p *progress, counting context.Context, stop func()) {
	p = &progress{x: x, note: note}
	p.x.Progress(0, note)
	return p, remotestore.WithMeter(ctx, &p.meter), x.ReportEvery(reportEvery, p.report)
}

// expect says that so many bytes more are to move.
func (p *progress) expect(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total += bytes
}

func (p *progress) report() {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := p.meter.Moved()
	if moved == p.counted {
		return
	}
	p.x.Moved(moved - p.counted)
	p.counted = moved
	if p.total > 0 {
		p.x.Progress(min(float64(moved)/float64(p.total), 1), fmt.Sprintf("%s: %d of %d MB moved", p.note, min(moved, p.total)/1e6, p.total/1e6))
	}
}
