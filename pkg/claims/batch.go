package claims

import (
	"context"
	"fmt"
	"strings"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// MaxBatch is how many tasks one script call takes. Longer slices are cut
// into several calls.
const MaxBatch = 256

// maxKin is how many ancestors' states one call reads, beside the tasks' own.
const maxKin = 2048

// maxIDBytes bounds ids that come from records of foreign clients.
const maxIDBytes = 512

// batch is the tasks of one script call: indexes into the caller's slice,
// ordered by bucket. No task is in it twice: scripts read all before they write.
type batch struct {
	index   []int
	buckets []int // the bucket of each
}

// plan divides the tasks that are not refused into batches. On a Cluster a
// batch has one bucket only, since its keys must be in one slot.
func (s *Store) plan(n int, id func(i int) string, refused func(i int) bool) []batch {
	var waiting []int
	for i := range n {
		if !refused(i) {
			waiting = append(waiting, i)
		}
	}
	var batches []batch
	seen := make(map[string]bool, len(waiting))
	for len(waiting) > 0 {
		clear(seen)
		var round [Buckets][]int
		var twins []int
		for _, i := range waiting {
			if seen[id(i)] {
				twins = append(twins, i)
				continue
			}
			seen[id(i)] = true
			bucket := Bucket(id(i))
			round[bucket] = append(round[bucket], i)
		}
		batches = s.pack(batches, &round, id)
		waiting = twins
	}
	return batches
}

func (s *Store) pack(batches []batch, round *[Buckets][]int, id func(i int) string) []batch {
	var b batch
	kin := 0
	flush := func() {
		if len(b.index) > 0 {
			batches = append(batches, b)
		}
		b, kin = batch{}, 0
	}
	for bucket, list := range round {
		for _, i := range list {
			kin += strings.Count(id(i), "/")
			if len(b.index) == MaxBatch || kin > maxKin {
				flush()
			}
			b.index = append(b.index, i)
			b.buckets = append(b.buckets, bucket)
		}
		if s.cfg.Cluster {
			flush()
		}
	}
	flush()
	return batches
}

// epochs are the buckets of a batch and how many of its tasks are in each.
func (b batch) epochs() (buckets, counts []int) {
	for i, bucket := range b.buckets {
		if i == 0 || bucket != b.buckets[i-1] {
			buckets = append(buckets, bucket)
			counts = append(counts, 0)
		}
		counts[len(counts)-1]++
	}
	return buckets, counts
}

// each runs one call per batch and hands every answer to fn with the index of
// its task. head is how many answers come before those of the tasks; they are
// handed over with each. When all calls fail the error is returned; when some
// do, their tasks are handed to failed.
func (s *Store) each(ctx context.Context, what string, batches []batch, head int, build func(b batch) scriptCall,
	fn func(i int, head []string, answer string), failed func(i int, err error),
) error {
	if len(batches) == 0 {
		return nil
	}
	calls := make([]scriptCall, len(batches))
	for n, b := range batches {
		calls[n] = build(b)
	}
	var errs []error
	replies := s.run(ctx, calls...)
	for n, b := range batches {
		texts, err := replies[n].texts(head + len(b.index))
		if err != nil {
			errs = append(errs, err)
			for _, i := range b.index {
				failed(i, fmt.Errorf("%s: %w", what, err))
			}
			continue
		}
		for k, i := range b.index {
			fn(i, texts[:head], texts[head+k])
		}
	}
	if len(errs) == len(batches) {
		return fmt.Errorf("%s: %w", what, errs[0])
	}
	return nil
}

// kin collects the state keys of ancestors behind the tasks' own keys.
type kin struct {
	keys  []string
	place map[string]int // from 1
}

// add returns where the first ancestor of id is and how many follow it: all in
// a row, the root first.
func (k *kin) add(tag, id string) (first, count int) {
	parent := task.Parent(id)
	if parent == "" {
		return 0, 0
	}
	above := ancestors(id)
	if first, ok := k.place[parent]; ok { // siblings share them
		return first, len(above)
	}
	if k.place == nil {
		k.place = make(map[string]int)
	}
	first = len(k.keys) + 1
	k.place[parent] = first
	for _, a := range above {
		k.keys = append(k.keys, tag+"s:"+a)
	}
	return first, len(above)
}

func checkID(id string) error {
	if id == "" || len(id) > maxIDBytes {
		return fmt.Errorf("%w: an id of %d bytes: 1 to %d", ErrInvalid, len(id), maxIDBytes)
	}
	return nil
}
