//go:build synctests

package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// script is what a task's parameters tell its worker to do.
type script struct {
	For       time.Duration `json:"for,omitempty"`       // how long it works, in steps with a checkpoint each
	Fail      int           `json:"fail,omitempty"`      // attempts that fail
	Permanent bool          `json:"permanent,omitempty"` // it fails for good
	Effect    bool          `json:"effect,omitempty"`    // it commits a segment to the shard
	Kill      bool          `json:"kill,omitempty"`      // it takes its node with it
	Salt      string        `json:"salt,omitempty"`      // makes parameters differ
}

var (
	errFlaky = errors.New("this attempt was to fail")
	errNever = errors.New("this will never work")
)

// stepTime is how long a worker works between two checkpoints.
const stepTime = 5 * time.Second

// attempts of a task before it becomes a dead letter.
const attempts = 4

var retryPolicy = task.RetryPolicy{MaxAttempts: attempts, Initial: 2 * time.Second, Max: 40 * time.Second, Factor: 4}

// work is the worker of both task types.
func (m *member) work(ctx context.Context, x *task.Execution) (err error) {
	r := m.w.obs.begins(m, x)
	defer func() {
		m.link.thawed(nil) // a frozen process does not notice that it was told to stop
		m.w.obs.ends(r, err, context.Cause(ctx))
	}()
	var s script
	if len(x.Raw) > 0 && x.Raw[0] == '{' {
		if err := json.Unmarshal(x.Raw, &s); err != nil {
			return task.Permanent(err)
		}
	}
	var at time.Duration
	x.Resume(&at)
	for at < s.For {
		step := min(stepTime, s.For-at)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
		m.link.thawed(nil)
		at += step
		if err := x.Checkpoint(at); err != nil {
			return err
		}
	}
	switch {
	case s.Kill:
		m.crash()
		m.w.replace(5 * time.Second)
		<-ctx.Done()
		return ctx.Err()
	case s.Permanent:
		return task.Permanent(errNever)
	case x.Attempt <= s.Fail:
		return errFlaky
	case s.Effect:
		return m.commit(ctx, x)
	}
	return nil
}

// shardName is the shard that all effects go to.
const shardName = "books/0"

// commit adds a segment to the shard, as a merge adds its output.
func (m *member) commit(ctx context.Context, x *task.Execution) error {
	s, err := shard.Open(m.store(), shardName)
	if err != nil {
		return err
	}
	blob := shard.BlobName(strings.Repeat("0", 64) + "-" + uuid.NewString())
	m.w.obs.intends(string(blob), x.ID)
	change := shard.Change{
		Writer:  shard.Writer{Node: m.name, Task: x.ID, AllocationID: x.AllocationID, At: time.Now()},
		Outputs: []shard.Segment{{Blob: blob, Bytes: 1, Type: shard.SegmentType, Version: shard.SegmentVersion, Docs: 1, Live: 1}},
	}
	apply := shard.Commit
	if m.w.options.Change != nil {
		apply = m.w.options.Change
	}
	_, err = s.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) { return apply(cur, change) })
	if errors.Is(err, shard.ErrNoEffect) {
		return nil
	}
	return err
}

// store is the object store as one node reaches it.
func (m *member) store() remotestore.Store { return &store{Store: m.w.objects, m: m} }

// store refuses a dead process, loses answers, and shows the observer every
// manifest.
type store struct {
	remotestore.Store
	m *member
}

func (s *store) Create(ctx context.Context, key string, body []byte) error {
	if err := s.reach(ctx); err != nil {
		return err
	}
	err := s.Store.Create(ctx, key, body)
	if err == nil && strings.Contains(key, "/manifest/") {
		s.m.w.obs.committed(body)
	}
	if s.m.w.storeLoses() {
		return fmt.Errorf("create %s: %w", key, remotestore.ErrUnknown)
	}
	return err
}

func (s *store) Get(ctx context.Context, key string, r remotestore.Range) ([]byte, error) {
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, key, r)
}

// reach waits while the process is frozen and refuses it when it is dead.
func (s *store) reach(ctx context.Context) error {
	s.m.link.thawed(nil)
	if s.m.link.isDead() {
		return errDead
	}
	return ctx.Err()
}
