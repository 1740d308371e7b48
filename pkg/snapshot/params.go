package snapshot

import (
	"errors"
	"fmt"
	"strings"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// The task types. Those of a shard are children of the others.
const (
	Type             = "snapshot"
	ShardType        = "snapshot.shard"
	RestoreType      = "snapshot.restore"
	RestoreShardType = "snapshot.restore.shard"
)

// Types are all of them, for whoever makes their topics.
func Types() []string { return []string{Type, ShardType, RestoreType, RestoreShardType} }

// MaxShards bounds the shards of one snapshot.
const MaxShards = 1000

// Params are what a snapshot is submitted with.
type Params struct {
	Snapshot string   `json:"snapshot"`
	Shards   []string `json:"shards"`

	// Repository copies the shards there; else the snapshot pins them where they are.
	Repository bool `json:"repository,omitempty"`
}

// Validate reports every mistake at once.
func (p Params) Validate() error {
	errs := []error{CheckName(p.Snapshot)}
	if len(p.Shards) == 0 || len(p.Shards) > MaxShards {
		errs = append(errs, fmt.Errorf("%d shards, allowed are 1 to %d", len(p.Shards), MaxShards))
	}
	seen := make(map[string]bool, len(p.Shards))
	for _, s := range p.Shards {
		errs = append(errs, shard.CheckName(s))
		if seen[s] {
			errs = append(errs, fmt.Errorf("shard %s is named twice", s))
		}
		seen[s] = true
	}
	return errors.Join(errs...)
}

// Describe says in a line what the task does.
func (p Params) Describe() string {
	return fmt.Sprintf("snapshot %s of %s%s", p.Snapshot, some(p.Shards), inRepository(p.Repository))
}

func some(shards []string) string {
	if len(shards) == 1 {
		return shards[0]
	}
	return fmt.Sprintf("%d shards", len(shards))
}

func inRepository(yes bool) string {
	if yes {
		return " to the repository"
	}
	return ""
}

// ShardParams are those of one shard of a snapshot.
type ShardParams struct {
	Snapshot   string `json:"snapshot"`
	Shard      string `json:"shard"`
	Repository bool   `json:"repository,omitempty"`
}

// Validate reports every mistake at once.
func (p ShardParams) Validate() error {
	return errors.Join(CheckName(p.Snapshot), shard.CheckName(p.Shard))
}

// Describe says in a line what the task does.
func (p ShardParams) Describe() string {
	return fmt.Sprintf("snapshot %s of %s%s", p.Snapshot, p.Shard, inRepository(p.Repository))
}

// RestoreParams are what a restore is submitted with.
type RestoreParams struct {
	Snapshot   string `json:"snapshot"`
	Repository bool   `json:"repository,omitempty"`

	// Shards are those to restore; none stands for all of the snapshot, under their own names.
	Shards []Target `json:"shards,omitempty"`

	// Force replaces what was written to a shard since, or what another shard has.
	Force bool `json:"force,omitempty"`

	// Trust leaves out reading the blobs of a shallow snapshot that is restored in its place: then it takes as
	// long for a large shard as for a small one, and damage is found when the shard is opened.
	Trust bool `json:"trust,omitempty"`
}

// Target is a shard to restore and where to.
type Target struct {
	Shard string `json:"shard"`
	As    string `json:"as,omitempty"` // empty: where it was
}

// ParseTarget reads "books" or "books=books-2".
func ParseTarget(text string) (Target, error) {
	from, to, renamed := strings.Cut(text, "=")
	t := Target{from, to}
	if renamed && to == "" {
		return t, fmt.Errorf("%q: name the shard behind =", text)
	}
	return t, t.check()
}

func (t Target) to() string {
	if t.As == "" {
		return t.Shard
	}
	return t.As
}

func (t Target) check() error {
	return errors.Join(shard.CheckName(t.Shard), shard.CheckName(t.to()))
}

// Validate reports every mistake at once.
func (p RestoreParams) Validate() error {
	errs := []error{CheckName(p.Snapshot)}
	if len(p.Shards) > MaxShards {
		errs = append(errs, fmt.Errorf("%d shards, at most %d are allowed", len(p.Shards), MaxShards))
	}
	seen := make(map[string]bool, len(p.Shards))
	for _, t := range p.Shards {
		errs = append(errs, t.check())
		if seen[t.to()] {
			errs = append(errs, fmt.Errorf("shard %s would be restored twice", t.to()))
		}
		seen[t.to()] = true
	}
	return errors.Join(errs...)
}

// Describe says in a line what the task does.
func (p RestoreParams) Describe() string {
	what := "all shards"
	if len(p.Shards) > 0 {
		names := make([]string, len(p.Shards))
		for i, t := range p.Shards {
			names[i] = t.Shard
		}
		what = some(names)
	}
	return fmt.Sprintf("restore %s of snapshot %s", what, p.Snapshot)
}

// RestoreShardParams are those of one shard of a restore.
type RestoreShardParams struct {
	Snapshot   string `json:"snapshot"`
	Task       string `json:"task"` // that made the snapshot
	Repository bool   `json:"repository,omitempty"`
	Part       Part   `json:"part"`
	As         string `json:"as"`
	Force      bool   `json:"force,omitempty"`
	Trust      bool   `json:"trust,omitempty"`
}

// Validate reports every mistake at once.
func (p RestoreShardParams) Validate() error {
	return errors.Join(CheckName(p.Snapshot), shard.CheckName(p.Part.Shard), shard.CheckName(p.As))
}

// Describe says in a line what the task does.
func (p RestoreShardParams) Describe() string {
	if p.As == p.Part.Shard {
		return fmt.Sprintf("restore %s of snapshot %s", p.As, p.Snapshot)
	}
	return fmt.Sprintf("restore %s of snapshot %s as %s", p.Part.Shard, p.Snapshot, p.As)
}

// Result is what a snapshot or a restore leaves for listeners and for whoever asks for the task's state.
type Result struct {
	Snapshot string `json:"snapshot"`
	Shards   int    `json:"shards"`
	Segments int    `json:"segments"`
	Docs     uint64 `json:"docs"`
	Bytes    int64  `json:"bytes"`
	Copied   int64  `json:"copied"` // bytes of blobs that had to be copied
}

func (r *Result) add(segments int, docs uint64, bytes, copied int64) {
	r.Shards++
	r.Segments += segments
	r.Docs += docs
	r.Bytes += bytes
	r.Copied += copied
}

// Restored is what the restore of one shard leaves.
type Restored struct {
	Shard      string `json:"shard"`
	Generation uint64 `json:"generation"` // that holds the restored content; without effect, the newest that was seen

	// NoEffect says why nothing was committed: "already applied", or "unchanged" when the shard is as it was.
	NoEffect string `json:"no_effect,omitempty"`

	Segments int    `json:"segments"`
	Docs     uint64 `json:"docs"`
	Bytes    int64  `json:"bytes"`
	Copied   int64  `json:"copied"`
}

// NewTask returns an id for the task of a snapshot that is about to be submitted. A later snapshot of the same name is
// another task.
func NewTask(name string) string { return "snapshot-" + name + "-" + task.NewID() }

// NewRestoreTask returns an id for the task of a restore.
func NewRestoreTask(name string) string { return "restore-" + name + "-" + task.NewID() }

// ChildTask returns the id of the task that does one shard of a snapshot; of a restore, the shard is the one restored to.
func ChildTask(id, shard string) string { return id + "/" + slug(shard) }
