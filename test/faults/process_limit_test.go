package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestRow3ADataNodeIsKilledWhileMergesCommit(t *testing.T) {
	r := begin(t, 3)
	r.on(usualServers, "1 S3 server (versitygw)")
	bucket := testkit.S3(t)
	f := r.fleet(fleet.Servers{Store: &bucket})
	f.Node("n1", append([]string{"node.types=merge"}, fast...)...)
	dir := t.TempDir()
	d := f.DataNode("d1", "data_node.dir="+dir)
	s := r.shelve(d, "books", 10*time.Millisecond)
	r.strike("kill -9 of the data node while merges commit, 6 times; the last 3 times its disk is lost, too")
	committed, offline := 0, 0
	for kill := range 6 {
		seen := 0
		require.Eventually(t, func() bool { seen, _ = s.merges(); return seen >= 2 }, time.Minute, 5*time.Millisecond)
		done, there := s.merges()
		committed, offline = committed+done, offline+there
		s.moved(nil)
		d.Kill()
		if kill >= 3 {
			dir = t.TempDir()
		}
		d = f.DataNode("d1", "data_node.dir="+dir, "data_node.shards=books")
		s.moved(d)
	}
	docs, queries := s.compare()
	require.Positive(t, offline, "merges ran on the node")
	r.checked("%d bulks had no answer and were sent again; %d merges committed before the kills, %d of them offline", s.again, committed, offline)
	r.checked("all %d documents are there, no deleted one is back; %d queries answer as on a plain index", docs, queries)
}

// tiny mounts a disk of so many KiB, or skips.
func tiny(t *testing.T, kib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kib)); err != nil {
		t.Skipf("a disk of its own needs the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func TestRow31AMergeMovesFromAFullDisk(t *testing.T) {
	r := begin(t, 31)
	r.on(usualServers, "1 S3 server (versitygw)", "tmpfs of 96 KiB")
	full := tiny(t, 96)
	bucket := testkit.S3(t)
	f := r.fleet(fleet.Servers{Store: &bucket})
	d := f.DataNode("d1")
	s := r.shelve(d, "books", 10*time.Millisecond)
	planned := func(status string) int {
		return len(slices.DeleteFunc(d.Merges("books"), func(m fleet.Merge) bool { return m.Status != status }))
	}
	require.Eventually(t, func() bool { return planned("waiting")+planned("running") >= 2 }, time.Minute, 100*time.Millisecond, "%v", d.Merges("books"))
	s.stop()

	settings := []string{"types.merge.retry.initial=1s", "types.merge.retry.max=2s", "types.merge.retry.max_attempts=20"}
	r.strike("the disk for scratch files of the only node is full")
	small := f.Node("small", append(settings, "node.scratch_dir="+full)...)
	failed := func() bool {
		states, _, err := f.Client.List(t.Context(), claims.Filter{}, "", 100)
		require.NoError(t, err)
		return slices.ContainsFunc(states, func(s *claims.State) bool { return strings.Contains(s.Explanation, "no space left on device") })
	}
	require.Eventually(t, failed, time.Minute, 50*time.Millisecond, "no merge meets the full disk")
	f.Node("large", settings...)
	joined := time.Now()
	require.Eventually(t, func() bool { return planned("waiting")+planned("running") == 0 }, 2*time.Minute, 100*time.Millisecond, "merges do not end")
	require.Zero(t, planned("failed"), "%+v", d.Merges("books"))
	r.recoveredIn(time.Since(joined), "the merges have ended on another node")
	docs, queries := s.compare()
	r.checked("the node with the full disk lives on; all %d documents are there, %d queries answer as on a plain index", docs, queries)
	select {
	case <-small.Ended():
		t.Error("the node with the full disk has ended")
	default:
	}
	id := f.Submit(nil)
	require.Equal(t, task.Success, f.Outcome(id, 0, time.Minute).Status)
	r.audit(f, []string{id})
}

// cage limits the memory of processes by a control group, or skips.
type cage struct{ dir string }

func newCage(t *testing.T, limit int) cage {
	t.Helper()
	root, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes" // version 1
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root, file = "/sys/fs/cgroup", "memory.max"
	}
	dir := filepath.Join(root, strings.ToLower(testkit.Name(t)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("a memory limit needs the right to make a control group: %v", err)
	}
	t.Cleanup(func() {
		// What it held is gone a moment after the process.
		for range 50 {
			if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("control group %s stays", dir)
	})
	if err := os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, limit), 0o600); err != nil {
		t.Skipf("no memory limit can be set here: %v", err)
	}
	return cage{dir}
}

func (c cage) hold(t *testing.T, p *fleet.Process) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "cgroup.procs"), fmt.Append(nil, p.Pid()), 0o600))
}

func TestRow32ANodeMeetsItsMemoryLimit(t *testing.T) {
	r := begin(t, 32)
	r.on(usualServers, "a control group of 128 MiB")
	c := newCage(t, 128<<20)
	f := r.fleet(fleet.Servers{})
	small := f.Node("small")
	c.hold(t, small)
	beside := running(f, 2, "30s")
	f.Node("large", "types.probe.slots=8")
	require.Eventually(t, func() bool { return len(shares(t, f)) == 2 }, time.Minute, 100*time.Millisecond)

	r.strike("a node with 128 MiB gets tasks of 200 MiB, and is killed by the kernel")
	var ids []string
	for len(ids) < 20 { // one of them meets the small node
		ids = append(ids, f.Submit(map[string]any{"for": "1s", "hold": 200 << 20}))
		select {
		case <-small.Ended():
		case <-time.After(time.Second):
			continue
		}
		break
	}
	require.NotEqual(t, 0, small.Wait(10*time.Second), "it was killed")
	r.strike("its end")
	for id := range beside {
		before, err := f.Client.State(t.Context(), id)
		require.NoError(t, err)
		if before.AllocationID == beside[id] {
			claimedAgain(f, before, time.Minute)
		}
		ids = append(ids, id)
	}
	r.recovered("the other tasks of the killed node run on another one")
	for _, id := range ids {
		require.Equal(t, task.Success, f.Outcome(id, 0, time.Minute).Status)
	}
	r.audit(f, ids)
}
