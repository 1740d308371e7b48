package datanode

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// offered is a merge that is a task, as a process leaves it for the next one. Without it a restarted node would plan the
// segments anew, and others than before together with them: both merges would run, and the second to commit for nothing.
// It is a hint: a node that starts with an empty disk does without.
type offered struct {
	ID        string             `json:"id"`
	Type      string             `json:"type"`
	Reason    string             `json:"reason"`
	PlannedAt time.Time          `json:"planned_at"`
	Submitted time.Time          `json:"submitted"`
	Merge     *merge.Params      `json:"merge,omitempty"`
	Force     *merge.ForceParams `json:"force,omitempty"`
}

func (n *Node) offeredDir() string { return filepath.Join(n.cfg.Dir, "offered") }

func (sh *Shard) offeredPath() string {
	sum := sha256.Sum256([]byte(sh.name))
	return filepath.Join(sh.node.offeredDir(), hex.EncodeToString(sum[:16])+".json")
}

// remember writes down which merges are tasks.
func (sh *Shard) remember() {
	sh.remembering.Lock()
	defer sh.remembering.Unlock()
	all := []offered{}
	for _, t := range sh.merges.each() {
		sh.merges.update(t, func(t *tracked) {
			if t.Where != Remote || t.submitted.IsZero() {
				return
			}
			o := offered{ID: t.ID, Type: t.Type, Reason: t.Reason, PlannedAt: t.PlannedAt, Submitted: t.submitted, Force: t.force}
			if t.force == nil {
				o.Merge = &t.params
			}
			all = append(all, o)
		})
	}
	raw, err := json.Marshal(all)
	if err == nil {
		half := sh.offeredPath() + ".half"
		err = errors.Join(os.WriteFile(half, raw, 0o600), os.Rename(half, sh.offeredPath()))
	}
	if err != nil {
		sh.log.Warn("merges under way not written down: a restart may plan them twice", "error", err)
	}
}

// recall goes on with the merges that were tasks when the process before this one ended.
func (sh *Shard) recall(m shard.Manifest) error {
	raw, err := os.ReadFile(sh.offeredPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var all []offered
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		return fmt.Errorf("merges under way: %w", err)
	}
	for _, o := range all {
		t := &tracked{force: o.Force, submitted: o.Submitted, Merge: Merge{ID: o.ID, Type: o.Type}}
		switch {
		case o.Force != nil:
			for _, id := range o.Force.Segments {
				if s, ok := m.Segment(id); ok {
					t.inputs = append(t.inputs, s)
				}
			}
		case o.Merge != nil:
			t.params = *o.Merge
			for _, in := range o.Merge.Inputs {
				if s, ok := m.Segment(in.ID); ok && s.Blob == in.Blob {
					t.inputs = append(t.inputs, s)
				}
			}
			if len(t.inputs) < len(o.Merge.Inputs) {
				continue // it is over
			}
		}
		sh.track(t, decision{Remote, o.Reason})
		sh.merges.update(t, func(t *tracked) { t.PlannedAt = o.PlannedAt })
	}
	return nil
}
