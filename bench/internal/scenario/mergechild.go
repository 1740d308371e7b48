package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"

	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
)

// MergeCommand is the word after which this program merges one shard and says what that cost.
const MergeCommand = "merge"

const (
	mergeTask  = "task"
	mergeStep  = "step"
	mergeForce = "force"
)

// mergeJob is what such a process is told.
type mergeJob struct{ Mode, Store, Shard, Dir string }

// mergeCost is what it answers.
type mergeCost struct{ CPU, Wall, MemoryMiB, MovedMB float64 }

// RunMerge merges a shard as a job says, and writes what that cost to out.
func RunMerge(ctx context.Context, text string, out io.Writer) error {
	var job mergeJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	if err := os.MkdirAll(job.Dir, 0o700); err != nil {
		return err
	}
	store, err := remotestore.Open(ctx, remotestore.Config{URL: job.Store})
	if err != nil {
		return err
	}
	s, err := shard.Open(store, job.Shard)
	if err != nil {
		return err
	}
	m, err := s.Newest(ctx)
	if err != nil {
		return err
	}
	var cost mergeCost
	switch job.Mode {
	case mergeTask:
		cost, err = runMergeTask(ctx, job, store, m)
	case mergeStep:
		cost, err = runMergeStep(ctx, job, s, m)
	case mergeForce:
		cost, err = runForceMerge(ctx, job, s, m)
	default:
		err = fmt.Errorf("no mode is called %q", job.Mode)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(cost)
}

func runMergeTask(ctx context.Context, job mergeJob, store remotestore.Store, m shard.Manifest) (mergeCost, error) {
	mux := task.NewMux()
	if err := merge.Register(mux, merge.Config{Store: store, Scratch: job.Dir, Node: "bench"}); err != nil {
		return mergeCost{}, err
	}
	id, params := merge.Plan(m, m.Segments)
	raw, err := task.Encode(params)
	if err != nil {
		return mergeCost{}, err
	}
	x := task.NewExecution(task.Envelope{ID: id, Type: merge.Type, Attempt: 1}, raw, 1, nil, nil)
	cost, err := costOf(func() error { return mux.Lookup(merge.Type).Do(ctx, x) })
	if err != nil {
		return cost, err
	}
	var result merge.Result
	if err := json.Unmarshal(x.Report().Result, &result); err != nil {
		return cost, err
	}
	if result.NoEffect != "" || result.Docs != m.Docs() {
		return cost, fmt.Errorf("the merge left %d documents of %d: %q", result.Docs, m.Docs(), result.NoEffect)
	}
	cost.MovedMB = float64(result.BytesMoved) / 1e6
	return cost, nil
}

func runMergeStep(ctx context.Context, job mergeJob, s *shard.Shard, m shard.Manifest) (mergeCost, error) {
	inputs := make([]shard.MergeInput, len(m.Segments))
	for i, seg := range m.Segments {
		path := filepath.Join(job.Dir, fmt.Sprint("input-", i))
		if err := s.Download(ctx, seg, path); err != nil {
			return mergeCost{}, err
		}
		inputs[i] = shard.MergeInput{Path: path, Segment: seg}
	}
	var merged shard.Segment
	cost, err := costOf(func() (err error) {
		merged, err = shard.MergeSegments(ctx, inputs, filepath.Join(job.Dir, "merged"), nil)
		return err
	})
	if err == nil && merged.Docs != m.Docs() {
		err = fmt.Errorf("the merge left %d documents of %d", merged.Docs, m.Docs())
	}
	return cost, err
}

// neverMerge keeps bleve's own merger from finding anything to do before it is told.
var neverMerge = map[string]any{"MaxSegmentSize": 1, "MaxSegmentsPerTier": 1 << 20, "SegmentsPerMergeTask": 1 << 20}

func runForceMerge(ctx context.Context, job mergeJob, s *shard.Shard, m shard.Manifest) (mergeCost, error) {
	dir, err := copyIndex(ctx, job, s, m)
	if err != nil {
		return mergeCost{}, err
	}
	index, err := bleve.OpenUsing(dir, map[string]any{"scorchMergePlanOptions": neverMerge})
	if err != nil {
		return mergeCost{}, err
	}
	advanced, err := index.Advanced()
	if err != nil {
		return mergeCost{}, err
	}
	engine, is := advanced.(*scorch.Scorch)
	if !is {
		return mergeCost{}, fmt.Errorf("the index is a %T", advanced)
	}
	options := mergeplan.SingleSegmentMergePlanOptions
	options.SegmentsPerMergeTask = len(m.Segments)
	cost, err := costOf(func() error { return engine.ForceMerge(ctx, &options) })
	if err != nil {
		return cost, err
	}
	docs, err := index.DocCount()
	if err == nil && docs != m.Docs() {
		err = fmt.Errorf("the merge left %d documents of %d", docs, m.Docs())
	}
	return cost, errors.Join(err, index.Close())
}

// copyIndex makes a folder that bleve opens: a copy of the one that the shard's cache makes to read it.
func copyIndex(ctx context.Context, job mergeJob, s *shard.Shard, m shard.Manifest) (dir string, err error) {
	folder := filepath.Join(job.Dir, "cache")
	cache, err := shard.OpenCache(folder, 1<<40)
	if err != nil {
		return "", err
	}
	index, err := cache.OpenIndex(ctx, s, m)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, index.Close(), cache.Close()) }()
	found, err := filepath.Glob(filepath.Join(folder, "*", "index-*"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d indexes are in the cache, not one", len(found))
	}
	dir = filepath.Join(job.Dir, "index")
	return dir, os.CopyFS(dir, os.DirFS(found[0]))
}

// costOf measures what a function costs this process.
func costOf(do func() error) (cost mergeCost, err error) {
	runtime.GC()
	debug.FreeOSMemory() // what came before is not its
	stop, peak := watchMemory()
	before, began := processorTime(), time.Now()
	err = do()
	cost.Wall, cost.CPU = time.Since(began).Seconds(), (processorTime() - before).Seconds()
	stop()
	cost.MemoryMiB = float64(<-peak) / (1 << 20)
	return cost, err
}

func watchMemory() (stop func(), peak <-chan int64) {
	done, result := make(chan struct{}), make(chan int64, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var most int64
		for {
			if now, err := rig.Memory(os.Getpid(), "RssAnon"); err == nil {
				most = max(most, now)
			}
			select {
			case <-tick.C:
			case <-done:
				result <- most
				return
			}
		}
	}()
	return func() { close(done) }, result
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
