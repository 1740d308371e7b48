package reindex

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Names of the task types: a reindex, and its children that copy.
const (
	Type      = "reindex"
	SliceType = "reindex.slice"
)

// MaxSlices bounds the slices of one reindex.
const MaxSlices = 64

// Conflicts says what happens to a document whose ID a document of the target has that this reindex did not write.
type Conflicts string

// The ways to deal with conflicts.
const (
	// Abort fails, and nothing becomes visible. It is the default.
	Abort Conflicts = "abort"
	// Proceed leaves the target's document as it is, and counts.
	Proceed Conflicts = "proceed"
	// Overwrite replaces the target's document, and counts.
	Overwrite Conflicts = "overwrite"
)

// Params are what a reindex is submitted with.
type Params struct {
	// Source and Target name shards. A target that is not there is made. One that is there takes the documents in, all at
	// once. When both are the same, the shard is rebuilt in place.
	Source string `json:"source"`
	Target string `json:"target"`

	// Mapping is the target's bleve index mapping. Empty: the one that it has, or that of the source. A target that is
	// there and is not the source must have the same one.
	Mapping json.RawMessage `json:"mapping,omitempty"`

	// Query chooses documents, in bleve's query string syntax and by the source's mapping; empty: all. In place it must
	// be empty, because the rest would be lost.
	Query string `json:"query,omitempty"`

	Transform Transform `json:"transform,omitempty"`
	Slices    int       `json:"slices,omitempty"`    // how many children copy at the same time; default 1
	Conflicts Conflicts `json:"conflicts,omitempty"` // default Abort

	// Rate is how many documents a second all slices read together; 0: as many as they can.
	Rate float64 `json:"rate,omitempty"`
}

// Validate reports every mistake at once.
func (p Params) Validate() error {
	errs := []error{shard.CheckName(p.Source), shard.CheckName(p.Target), p.Transform.Validate()}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, name := range []string{p.Source, p.Target} {
		check(!strings.HasPrefix(name, Folder), "shard name %q: below %s reindexes keep their own", name, Folder)
	}
	if len(p.Mapping) > 0 {
		_, err := shard.ParseMapping(p.Mapping)
		errs = append(errs, err)
	}
	if p.Query != "" {
		errs = append(errs, shard.CheckQuery(p.Query))
	}
	check(p.Query == "" || !p.inPlace(), "a query in place would delete what it does not find: name another target")
	check(p.Slices >= 0 && p.Slices <= MaxSlices, "%d slices, allowed are 1 to %d", p.Slices, MaxSlices)
	check(p.Rate >= 0, "rate is %g: documents a second, 0 for no limit", p.Rate)
	switch p.Conflicts {
	case "", Abort, Proceed, Overwrite:
	default:
		check(false, "conflicts is %q: use abort, proceed or overwrite", p.Conflicts)
	}
	return errors.Join(errs...)
}

// Describe says in a line what the task does.
func (p Params) Describe() string {
	if p.inPlace() {
		return "reindex " + p.Source + " in place"
	}
	return fmt.Sprintf("reindex %s into %s", p.Source, p.Target)
}

func (p Params) inPlace() bool { return p.Source == p.Target }

func (p Params) withDefaults() Params {
	p.Slices = max(p.Slices, 1)
	if p.Conflicts == "" {
		p.Conflicts = Abort
	}
	return p
}

// SliceParams are those of a child: all else is in the plan, in the store.
type SliceParams struct {
	Reindex string `json:"reindex"` // its task ID
	Slice   int    `json:"slice"`   // from 0
	Round   int    `json:"round"`   // 0 copies, later ones catch up
}

// Validate reports what is wrong.
func (p SliceParams) Validate() error {
	if p.Reindex == "" || p.Slice < 0 || p.Slice >= MaxSlices || p.Round < 0 {
		return errors.New("a slice names its reindex, its number and its round")
	}
	return nil
}

// Describe says in a line what the task does.
func (p SliceParams) Describe() string {
	if p.Round == 0 {
		return fmt.Sprintf("slice %d of %s: copy", p.Slice, p.Reindex)
	}
	return fmt.Sprintf("slice %d of %s: catch up, round %d", p.Slice, p.Reindex, p.Round)
}

// Counts are documents.
type Counts struct {
	Read    uint64 `json:"read"`     // looked at, those that were written meanwhile included
	Written uint64 `json:"written"`  // indexed, once for each version
	Deleted uint64 `json:"deleted"`  // that the source has lost meanwhile
	LeftOut uint64 `json:"left_out"` // that the query did not find
}

func (c *Counts) add(o Counts) {
	c.Read += o.Read
	c.Written += o.Written
	c.Deleted += o.Deleted
	c.LeftOut += o.LeftOut
}

// Result is what a reindex leaves for listeners and for whoever asks for the task's state.
type Result struct {
	Source string `json:"source"`
	Target string `json:"target"`

	// SourceGeneration is the last one whose documents are in the target, Generation the target's that shows them.
	SourceGeneration uint64 `json:"source_generation"`
	Generation       uint64 `json:"generation"`

	// NoEffect is "already applied" when an earlier run had made the switch; only the generation is known then.
	NoEffect string `json:"no_effect,omitempty"`

	Counts

	Docs       uint64 `json:"docs"`      // that became visible
	Segments   int    `json:"segments"`  // that hold them
	Bytes      int64  `json:"bytes"`     // of these
	Conflicts  uint64 `json:"conflicts"` // documents that were in the target already
	BytesMoved int64  `json:"bytes_moved"`
}

// SliceResult is what a slice leaves: what it has counted in all rounds so far.
type SliceResult struct {
	Counts

	BytesMoved int64 `json:"bytes_moved"`
}
