package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
)

func merging() Scenario {
	const task, step, force = "offline-nodes, whole task", "offline-nodes, merge step", "bleve, ForceMerge"
	return Scenario{
		Turns: 3, NoServers: true,
		Scenario: report.Scenario{
			Number: 9, Name: "merge", Title: "Merge: ours against bleve's ForceMerge of the same shard",
			About: "8 segments of 3,000 documents of some hundred words, one in ten deleted, in a store that is a folder. *whole task* downloads them, merges, uploads and commits; *merge step* is the merge alone; *ForceMerge* is bleve's own, on the same " +
				"files on a local disk. Each in a process of its own; *memory* is the most that it held beside mapped files.",
			Metrics: []report.Metric{
				{Name: "CPU", Unit: "s"},
				{Name: "wall", Unit: "s"},
				{Name: "memory", Unit: "MiB"},
				{Name: "moved", Unit: "MB"},
			},
			Picture: report.Picture{Title: "Processor time of a merge", Metric: "CPU", Unit: "s"},
			Targets: []report.Target{{
				Text: "the merge step's CPU at most 1.1 times that of ForceMerge", Unit: " times", Reached: func(r *report.Result) (float64, bool) {
					v := r.Median("", step, "CPU") / r.Median("", force, "CPU")
					return v, v <= 1.1
				},
			}},
		},
		measure: func(ctx context.Context, r *Run) (err error) {
			dir, err := os.MkdirTemp("", "offline-bench-merge-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			f := mergeFixture{dir: dir, segments: 8, each: full(r, 3000, 300)}
			if err := f.build(ctx); err != nil {
				return err
			}
			modes := []struct{ mode, name string }{{mergeTask, task}, {mergeStep, step}, {mergeForce, force}}
			for turn := range r.Turns {
				for i := range modes {
					m := modes[(i+turn)%len(modes)]
					var cost mergeCost
					_, err := r.watched(turn, func() (err error) {
						cost, err = f.measure(ctx, m.mode, fmt.Sprintf("%s-%d", m.mode, turn))
						return err
					})
					if err != nil {
						return fmt.Errorf("%s: %w", m.name, err)
					}
					r.recordAs(turn, "", m.name, "CPU", cost.CPU)
					r.recordAs(turn, "", m.name, "wall", cost.Wall)
					r.recordAs(turn, "", m.name, "memory", cost.MemoryMiB)
					if m.mode == mergeTask {
						r.recordAs(turn, "", m.name, "moved", cost.MovedMB)
					}
				}
			}
			return nil
		},
	}
}

// mergeFixture is segments and what is deleted of them, from which a shard is made for each measurement.
type mergeFixture struct {
	dir            string
	segments, each int

	built   []shard.Segment
	files   []string
	blobs   []shard.Blob
	deleted []shard.DocSet
}

func (f *mergeFixture) build(ctx context.Context) error {
	mapping, err := shard.ParseMapping(shard.DefaultMapping())
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	gone := map[int][]string{}
	for _, n := range random.Perm(f.segments * f.each)[:f.segments*f.each/10] {
		gone[n/f.each] = append(gone[n/f.each], fmt.Sprint("article-", n))
	}
	for i := range f.segments {
		path := filepath.Join(f.dir, fmt.Sprint("segment-", i))
		docs, err := articles(random, i*f.each, (i+1)*f.each)
		if err != nil {
			return err
		}
		seg, err := shard.BuildSegment(ctx, path, mapping, docs)
		if err != nil {
			return err
		}
		blob, err := shard.NameBlob(path)
		if err != nil {
			return err
		}
		seg.Blob = blob.Name
		reader, err := shard.OpenSegment(path, seg)
		if err != nil {
			return err
		}
		deleted, err := reader.Find(gone[i])
		if err := errors.Join(err, reader.Close()); err != nil {
			return err
		}
		f.built, f.files, f.blobs, f.deleted = append(f.built, seg), append(f.files, path), append(f.blobs, blob), append(f.deleted, deleted)
	}
	return nil
}

// articles makes documents of some hundred words with a natural spread.
func articles(r *rand.Rand, from, to int) ([]shard.Document, error) {
	words := rand.NewZipf(r, 1.15, 3, 60_000)
	text := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, "w%d ", words.Uint64())
		}
		return b.String()
	}
	var out []shard.Document
	for i := from; i < to; i++ {
		source, err := json.Marshal(map[string]any{
			"title": text(4 + r.IntN(6)), "body": text(80 + r.IntN(240)), "category": fmt.Sprint("cat-", r.IntN(20)),
			"price": float64(r.IntN(100_000)) / 100, "quantity": r.IntN(1000),
		})
		if err != nil {
			return nil, err
		}
		out = append(out, shard.Document{ID: fmt.Sprint("article-", i), Source: source})
	}
	return out, nil
}

// measure makes a shard of the segments and merges it in a process of its own.
func (f *mergeFixture) measure(ctx context.Context, mode, name string) (mergeCost, error) {
	job := mergeJob{Mode: mode, Store: "file://" + filepath.Join(f.dir, "store-"+name), Shard: name, Dir: filepath.Join(f.dir, "work-"+name)}
	if err := f.upload(ctx, job); err != nil {
		return mergeCost{}, err
	}
	text, err := json.Marshal(job)
	if err != nil {
		return mergeCost{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return mergeCost{}, err
	}
	cmd := exec.CommandContext(ctx, self, MergeCommand, string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return mergeCost{}, err
	}
	var cost mergeCost
	if err := json.Unmarshal(out, &cost); err != nil {
		return cost, err
	}
	return cost, errors.Join(os.RemoveAll(job.Dir), os.RemoveAll(strings.TrimPrefix(job.Store, "file://")))
}

func (f *mergeFixture) upload(ctx context.Context, job mergeJob) (err error) {
	store, err := remotestore.Open(ctx, remotestore.Config{URL: job.Store})
	if err != nil {
		return err
	}
	s, err := shard.Open(store, job.Shard)
	if err != nil {
		return err
	}
	if _, err := s.Create(ctx, shard.Settings{AppliedFor: time.Hour}); err != nil {
		return err
	}
	for i := range f.built {
		if err := s.Upload(ctx, f.blobs[i], f.files[i]); err != nil {
			return err
		}
	}
	written, err := s.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Writer: shard.Writer{Node: "bench"}, Outputs: f.built})
	})
	if err != nil {
		return err
	}
	gone := map[uint64]shard.DocSet{}
	for i, seg := range written.Segments {
		gone[seg.ID] = f.deleted[i]
	}
	_, err = s.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Writer: shard.Writer{Node: "bench"}, Deleted: gone})
	})
	return err
}
