package shard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/blevesearch/zapx/v17"
)

// Format is the version of the manifest format that this build writes. It reads no newer one.
const Format = 1

// MaxDocs is how many documents a segment may hold: their numbers have 32 bits.
const MaxDocs = 1<<32 - 1

// Manifest is one generation of a shard. Treat it as a value: its slices are shared, so a change starts with Clone.
//
// # In the store
//
// A manifest is one JSON object on one line: the fields below in this order, "checksum" as the last one, and a line
// feed. The checksum is the SHA-256, in hex, of all bytes before `,"checksum":`. Unknown fields are refused.
//
//	{"format":1,"shard":"books/0","generation":7,"next_segment":12,"applied_for":"168h0m0s","segments":[
//	 {"id":3,"blob":"<sha256>-<uuid>","bytes":52133,"type":"zap","version":17,"docs":100,"live":98,"deleted":"OjAAAAEA…"}],
//	 "mapping":{…},"applied":[{"task":"merge-5f1c","allocation_id":1763,"at":"2026-11-22T10:00:00Z"}],
//	 "writer":{"node":"n1","task":"merge-5f1c","allocation_id":1763,"at":"2026-11-22T10:00:00Z"},
//	 "nonce":"…","checksum":"…"}
//
// (on one line). "deleted", the "at" of an applied task and the writer's "node", "task" and "allocation_id" are left out
// when empty.
type Manifest struct {
	// Shard is the shard's name, so that a manifest copied to another place is noticed.
	Shard string

	// Generation counts the commits, from 1.
	Generation uint64

	// NextSegment is the ID that the next new segment gets. It never goes back, so IDs are not used again.
	NextSegment uint64

	// AppliedFor is how long applied tasks are remembered. It must be at least the retention of the task topic: as
	// long as a record of a task may come back.
	AppliedFor time.Duration

	// Segments are in ascending order of their IDs.
	Segments []Segment

	// Mapping is the bleve index mapping as JSON.
	Mapping json.RawMessage

	// Applied are the tasks whose changes are in this generation, in order of commit.
	Applied []Applied

	// Writer is who committed this generation.
	Writer Writer

	// Nonce tells this manifest from any other that was to become the same generation.
	Nonce string

	// StoredAt is when the store took the manifest, by the store's clock. It is not part of the stored form.
	StoredAt time.Time
}

// Segment is a part of a shard: a file and the documents deleted from it.
type Segment struct {
	ID      uint64   `json:"id"`
	Blob    BlobName `json:"blob"`
	Bytes   int64    `json:"bytes"`
	Type    string   `json:"type"`    // "zap"
	Version uint32   `json:"version"` // of the zap format
	Docs    uint64   `json:"docs"`    // deleted ones included
	Live    uint64   `json:"live"`    // Docs without the deleted ones
	Deleted DocSet   `json:"deleted,omitzero"`
}

// SegmentType and SegmentVersion are what this build reads and writes.
const (
	SegmentType    = zap.Type
	SegmentVersion = zap.Version
)

// without returns the segment with more documents deleted.
func (s Segment) without(docs DocSet) Segment {
	s.Deleted = s.Deleted.Union(docs)
	s.Live = s.Docs - s.Deleted.Count()
	return s
}

// Readable returns ErrFormat if this build cannot open the segment.
func (s Segment) Readable() error {
	if s.Type == SegmentType && s.Version == SegmentVersion {
		return nil
	}
	verdict := "it must be indexed anew"
	if s.Type == SegmentType && s.Version > SegmentVersion {
		verdict = "a newer version wrote it, upgrade this one"
	}
	return fmt.Errorf("segment %d (blob %s): %w: it is %s v%d, this build reads %s v%d: %s",
		s.ID, s.Blob, ErrFormat, s.Type, s.Version, SegmentType, SegmentVersion, verdict)
}

// Applied is a task whose change is in the shard.
type Applied struct {
	Task         string    `json:"task"`
	AllocationID int64     `json:"allocation_id"`
	At           time.Time `json:"at,omitzero"` // by the store's clock; empty until the next generation dates it
}

// Writer is who commits a change.
type Writer struct {
	Node         string    `json:"node,omitempty"`
	Task         string    `json:"task,omitempty"`          // empty for a data node's own writes
	AllocationID int64     `json:"allocation_id,omitempty"` // of the claim under which the task runs
	At           time.Time `json:"at"`
}

// Clone returns a manifest whose slices may be changed.
func (m Manifest) Clone() Manifest {
	m.Segments = slices.Clone(m.Segments)
	m.Applied = slices.Clone(m.Applied)
	m.Mapping = slices.Clone(m.Mapping)
	return m
}

// Docs returns how many documents can be found in the shard.
func (m Manifest) Docs() (live uint64) {
	for _, s := range m.Segments {
		live += s.Live
	}
	return live
}

// Bytes returns the size of all segments.
func (m Manifest) Bytes() (sum int64) {
	for _, s := range m.Segments {
		sum += s.Bytes
	}
	return sum
}

// AppliedAs returns the record of a task whose change was applied; ok is false if none is remembered.
func (m Manifest) AppliedAs(task string) (a Applied, ok bool) {
	if task == "" {
		return Applied{}, false
	}
	i := slices.IndexFunc(m.Applied, func(a Applied) bool { return a.Task == task })
	if i < 0 {
		return Applied{}, false
	}
	return m.Applied[i], true
}

// Segment returns the segment with an ID.
func (m Manifest) Segment(id uint64) (Segment, bool) {
	i, ok := slices.BinarySearchFunc(m.Segments, id, func(s Segment, id uint64) int { return cmp.Compare(s.ID, id) })
	if !ok {
		return Segment{}, false
	}
	return m.Segments[i], true
}
