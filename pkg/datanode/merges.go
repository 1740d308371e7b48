package datanode

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	// keptMerges is how many ended merges of a shard can be looked at.
	keptMerges = 100

	// localMerges is how many merges of one shard are planned ahead for this node, if fewer may run. A plan that waits
	// long is no longer a good one.
	localMerges = 2
)

// merges are those of one shard.
type merges struct {
	sh       *Shard
	planning sync.Mutex // held while merges are planned

	mu      sync.Mutex
	running map[string]*tracked
	ended   []Merge              // oldest first
	resting map[uint64]time.Time // segments whose merge failed, and until when they are left alone
	sums    MergeStats
}

func (g *merges) init(sh *Shard) {
	g.sh, g.running, g.resting = sh, map[string]*tracked{}, map[uint64]time.Time{}
}

// list returns the merges, the newest first.
func (g *merges) list() []Merge {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.shown()
	for _, m := range slices.Backward(g.ended) {
		all = append(all, m)
	}
	return all
}

// shown lists what has not ended, the newest first; the lock is held.
func (g *merges) shown() []Merge {
	all := make([]Merge, 0, len(g.running))
	for _, t := range g.running {
		all = append(all, t.shown())
	}
	slices.SortFunc(all, func(a, b Merge) int {
		return cmp.Or(b.PlannedAt.Compare(a.PlannedAt), cmp.Compare(a.ID, b.ID))
	})
	return all
}

func (g *merges) stats() MergeStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sums
	s.Running = g.shown()
	return s
}

// each returns what has not ended, for tending without the lock.
func (g *merges) each() []*tracked {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*tracked, 0, len(g.running))
	for _, t := range g.running {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *tracked) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// free returns the segments that no merge has, and that do not rest.
func (g *merges) free(segments []shard.Segment) []shard.Segment {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := map[uint64]bool{}
	for _, t := range g.running {
		for _, in := range t.inputs {
			taken[in.ID] = true
		}
	}
	now := time.Now()
	for id, until := range g.resting {
		if now.After(until) {
			delete(g.resting, id)
			continue
		}
		taken[id] = true
	}
	free := make([]shard.Segment, 0, len(segments))
	for _, s := range segments {
		if !taken[s.ID] {
			free = append(free, s)
		}
	}
	return free
}

// add begins to track a merge; false if it is tracked already.
func (g *merges) add(t *tracked) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running[t.ID] != nil {
		return false
	}
	g.running[t.ID] = t
	return true
}

// forcing tells whether a force merge is under way offline.
func (g *merges) forcing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.running {
		if t.force != nil {
			return true
		}
	}
	return false
}

// update changes a merge under the lock.
func (g *merges) update(t *tracked, change func(*tracked)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(t)
}

// load tells how many merges are here, how many are offline, and how long the longest of these waits for a node.
func (g *merges) load() (local, remote int, waiting time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.running {
		if t.Where == Local {
			local++
			continue
		}
		remote++
		if t.Status == Waiting && !t.submitted.IsZero() {
			waiting = max(waiting, time.Since(t.submitted))
		}
	}
	return local, remote, waiting
}

// heard notes the end of a task; false if it is none of ours.
func (g *merges) heard(e task.Event) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.running[e.TaskID]
	if t == nil {
		return false
	}
	t.final = &e
	return true
}

// runs tells whether a merge has not ended.
func (g *merges) runs(t *tracked) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running[t.ID] == t
}

// final returns the end of a merge's task, as far as it is known.
func (g *merges) final(t *tracked) *task.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return t.final
}

// end writes down how a merge ended, and why if it did not succeed.
func (g *merges) end(t *tracked, status MergeStatus, why string) Merge {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.Merge = t.shown()
	t.Status, t.Error, t.EndedAt = status, why, time.Now().UTC()
	t.TookMS = t.EndedAt.Sub(t.PlannedAt).Milliseconds()
	if status == Committed {
		t.Progress = 1
	}
	delete(g.running, t.ID)
	g.ended = append(g.ended, t.Merge)
	if over := len(g.ended) - keptMerges; over > 0 {
		g.ended = slices.Delete(g.ended, 0, over)
	}
	g.sum(t, status)
	return t.Merge
}

func (g *merges) sum(t *tracked, status MergeStatus) {
	rest := false
	switch status {
	case Committed:
		g.sums.BytesIn += t.Bytes
		if t.Where == Remote {
			g.sums.Offline++
			g.sums.OfflineBytes += t.Bytes
		} else {
			g.sums.Local++
		}
	case Superseded:
		g.sums.Superseded++
	case Cancelled:
		g.sums.Cancelled++
		rest = true
	case Failed:
		g.sums.Failed++
		rest = true
	case Waiting, Running:
	}
	g.sums.BytesMoved += t.Moved
	if rest && t.back == "" {
		until := time.Now().Add(g.sh.node.cfg.Retry)
		for _, in := range t.inputs {
			g.resting[in.ID] = until
		}
	}
}
