//go:build linux

package shard

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"
	"github.com/stretchr/testify/require"
)

// BenchmarkMergeAgainstForceMerge compares the processor time of MergeSegments with that of bleve's own ForceMerge on
// the same shard: 8 segments of 3,000 documents, one in ten deleted. Five pairs, the order changes; medians count.
//
//	go test -run - -bench AgainstForceMerge -benchtime 1x ./pkg/shard
func BenchmarkMergeAgainstForceMerge(b *testing.B) {
	f := newFixture(b)
	const segments, each, pairs = 8, 3000, 5
	random := rand.New(rand.NewPCG(1, 2))
	for i := range segments {
		f.write(b, articles(random, i*each, (i+1)*each))
	}
	var gone []string
	for _, n := range random.Perm(segments * each)[:segments*each/10] {
		gone = append(gone, fmt.Sprint("article-", n))
	}
	m := f.write(b, nil, gone...)
	files, err := f.cache.GetAll(b.Context(), f.shard, m.Segments)
	require.NoError(b, err)
	defer closeFiles(files)
	b.Logf("%d segments, %d documents, %d deleted, %.1f MB, %s, GOMAXPROCS %d",
		segments, segments*each, len(gone), float64(m.Bytes())/1e6, runtime.Version(), runtime.GOMAXPROCS(0))

	for b.Loop() {
		var ours, theirs []float64
		for pair := range pairs {
			if pair%2 == 0 {
				ours = append(ours, f.timeMerge(b, m, files))
				theirs = append(theirs, f.timeForceMerge(b, m, files))
			} else {
				theirs = append(theirs, f.timeForceMerge(b, m, files))
				ours = append(ours, f.timeMerge(b, m, files))
			}
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		b.Logf("processor seconds, sorted: MergeSegments %.2f, ForceMerge %.2f", ours, theirs)
		b.ReportMetric(ours[pairs/2], "merge-cpu-s")
		b.ReportMetric(theirs[pairs/2], "forcemerge-cpu-s")
		b.ReportMetric(ours[pairs/2]/theirs[pairs/2], "ratio")
		b.ReportMetric(float64(m.Bytes())/1e6/ours[pairs/2], "MB/cpu-s")
	}
}

// articles makes documents of some hundred words with a natural spread.
func articles(r *rand.Rand, from, to int) []Document {
	words := rand.NewZipf(r, 1.15, 3, 60_000)
	text := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, "w%d ", words.Uint64())
		}
		return b.String()
	}
	var out []Document
	for i := from; i < to; i++ {
		source, _ := json.Marshal(map[string]any{
			"title": text(4 + r.IntN(6)), "body": text(80 + r.IntN(240)), "category": fmt.Sprint("cat-", r.IntN(20)),
			"price": float64(r.IntN(100_000)) / 100, "quantity": r.IntN(1000),
		})
		out = append(out, Document{fmt.Sprint("article-", i), source})
	}
	return out
}

func (f *fixture) timeMerge(b *testing.B, m Manifest, files []*File) float64 {
	b.Helper()
	var inputs []MergeInput
	for i, s := range m.Segments {
		inputs = append(inputs, MergeInput{files[i].Path, s})
	}
	runtime.GC()
	began := processorTime(b)
	out, err := MergeSegments(b.Context(), inputs, filepath.Join(f.dir, "merged"), nil)
	took := processorTime(b) - began
	require.NoError(b, err)
	require.Equal(b, m.Docs(), out.Docs)
	return took.Seconds()
}

// timeForceMerge opens the shard as a bleve index that may be written, and lets bleve merge it.
func (f *fixture) timeForceMerge(b *testing.B, m Manifest, files []*File) float64 {
	b.Helper()
	dir := b.TempDir()
	defer os.RemoveAll(dir) // five of them would take room for nothing
	require.NoError(b, writeIndex(dir, m, files))
	x, err := bleve.OpenUsing(dir, map[string]any{"scorchMergePlanOptions": neverMerge})
	require.NoError(b, err)
	advanced, err := x.Advanced()
	require.NoError(b, err)
	runtime.GC()
	began := processorTime(b)
	options := mergeplan.SingleSegmentMergePlanOptions
	options.SegmentsPerMergeTask = len(m.Segments)
	require.NoError(b, advanced.(*scorch.Scorch).ForceMerge(b.Context(), &options))
	took := processorTime(b) - began
	count, err := x.DocCount()
	require.NoError(b, err)
	require.Equal(b, m.Docs(), count)
	require.NoError(b, x.Close())
	return took.Seconds()
}

// processorTime is what this process has used, in user and system mode.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var memoryMB = flag.Int("merge-memory-mb", 0, "run BenchmarkMergeMemory with so many MB of input")

// BenchmarkMergeMemory measures the anonymous memory of a merge of eight segments: what is held, not what is mapped. It
// takes minutes and some GB of disk, so it runs only when it is given a size:
//
//	go test -run - -bench MergeMemory -benchtime 1x ./pkg/shard -args -merge-memory-mb 1000
func BenchmarkMergeMemory(b *testing.B) {
	if *memoryMB == 0 {
		b.Skip("needs -merge-memory-mb")
	}
	f := newFixture(b)
	random := rand.New(rand.NewPCG(1, 2))
	const segments = 8
	var inputs []MergeInput
	var total int64
	for i := range segments {
		path := filepath.Join(f.dir, fmt.Sprint("input-", i))
		seg := f.buildLarge(b, path, random, int64(*memoryMB)*1e6/segments)
		total += seg.Bytes
		inputs = append(inputs, MergeInput{path, seg})
	}
	debug.FreeOSMemory() // what building has left is not the merge's
	for b.Loop() {
		before, err := anonymousMiB()
		require.NoError(b, err)
		ctx, stop := context.WithCancel(b.Context())
		var peak atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				if now, err := anonymousMiB(); err == nil {
					peak.Store(max(peak.Load(), now))
				}
				time.Sleep(50 * time.Millisecond) // a sample; nothing waits for it
			}
		}()
		began := time.Now()
		out, err := MergeSegments(b.Context(), inputs, filepath.Join(f.dir, "merged"), nil)
		stop()
		<-done
		require.NoError(b, err)
		require.Positive(b, peak.Load())
		b.Logf("%d MB in, %d MB out in %.0f s: anonymous memory %d MiB before, %d MiB at most",
			total/1e6, out.Bytes/1e6, time.Since(began).Seconds(), before, peak.Load())
		b.ReportMetric(float64(peak.Load()), "anon-MiB")
		b.ReportMetric(float64(total)/1e6, "input-MB")
	}
}

// buildLarge makes a segment of about so many bytes by merging smaller ones.
func (f *fixture) buildLarge(b *testing.B, path string, r *rand.Rand, size int64) Segment {
	b.Helper()
	var parts []MergeInput
	for have, n := int64(0), 0; have < size; n++ {
		part := fmt.Sprint(path, "-part-", n)
		seg, err := BuildSegment(b.Context(), part, f.mapping, articles(r, n*2000, (n+1)*2000))
		require.NoError(b, err)
		have += seg.Bytes
		parts = append(parts, MergeInput{part, seg})
	}
	seg, err := MergeSegments(b.Context(), parts, path, nil)
	require.NoError(b, err)
	for _, p := range parts {
		require.NoError(b, os.Remove(p.Path))
	}
	return seg
}

// anonymousMiB reads how much memory this process has that is no file's.
func anonymousMiB() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb >> 10, err
		}
	}
	return 0, errors.New("no RssAnon in /proc/self/status")
}
