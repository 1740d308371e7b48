package reindex

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// reportEvery is how often a run looks whether it got on.
const reportEvery = time.Second

// progress tells the task how far a run is. A run in which no byte moves and no document is looked at reports nothing,
// and so is found to be stalled.
type progress struct {
	x     *task.Execution
	verb  string
	total uint64 // documents
	done  atomic.Uint64
	pulse atomic.Uint64 // counts signs of life that neither documents nor bytes show
	meter remotestore.Meter

	counted int64 // bytes that the task knows of
	seen    [3]uint64
}

// run counts what moves under the context it returns, and reports until stop, which reports for the last time.
func (p *progress) run(ctx context.Context) (counting context.Context, stop func()) {
	p.report()
	return remotestore.WithMeter(ctx, &p.meter), p.x.ReportEvery(reportEvery, p.report)
}

func (p *progress) report() {
	moved := p.meter.Moved()
	p.x.Moved(moved - p.counted)
	p.counted = moved
	now := [3]uint64{p.done.Load(), uint64(moved), p.pulse.Load()}
	if now == p.seen {
		return
	}
	p.seen = now
	p.x.Progress(float64(now[0])/float64(max(p.total, 1)), fmt.Sprintf("%s: %d of %d documents", p.verb, now[0], p.total))
}
