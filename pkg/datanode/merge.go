package datanode

import (
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// MergeStatus is where a merge stands.
type MergeStatus string

// The statuses of merges; the last four are final.
const (
	Waiting    MergeStatus = "waiting" // for an offline node, or for the merge that runs here
	Running    MergeStatus = "running"
	Committed  MergeStatus = "committed"  // its segment is in the shard
	Superseded MergeStatus = "superseded" // its inputs are gone: another merge or a restore was first
	Failed     MergeStatus = "failed"
	Cancelled  MergeStatus = "cancelled"
)

// Merge is a merge that this node has planned.
type Merge struct {
	ID     string      `json:"id"`   // of the task; the same inputs have the same
	Type   string      `json:"type"` // of the task: merge, or force-merge for one of several rounds
	Where  Where       `json:"where"`
	Reason string      `json:"reason"` // why there
	Status MergeStatus `json:"status"`

	Inputs []uint64 `json:"inputs"` // IDs of segments
	Docs   uint64   `json:"docs"`   // live ones in them
	Bytes  int64    `json:"bytes"`  // of the inputs

	Progress float64 `json:"progress"` // 0 to 1
	Note     string  `json:"note,omitempty"`
	Node     string  `json:"node,omitempty"` // that runs or ran it
	Attempt  int     `json:"attempt,omitempty"`
	Error    string  `json:"error,omitempty"`
	Moved    int64   `json:"bytes_moved"`

	PlannedAt time.Time `json:"planned_at"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	TookMS    int64     `json:"took_ms,omitempty"` // from planned to ended
}

// Ended tells whether the status is final.
func (m *Merge) Ended() bool {
	switch m.Status {
	case Waiting, Running:
		return false
	default:
		return true
	}
}

// tracked is a merge that has not ended.
type tracked struct {
	Merge
	inputs []shard.Segment
	params merge.Params       // of one merge
	force  *merge.ForceParams // of a force merge that runs offline; then params are none

	submitted time.Time   // when its task was last accepted
	back      string      // why it is taken back, from then on
	final     *task.Event // its task's end, heard or asked for

	execution  *task.Execution // of its local run
	allocation int64           // of its local run
	stop       func()          // ends its local run; nil while none was started
	localErr   error           // of its local run
	localEnded bool
}

// taskParams are what its task is submitted with.
func (t *tracked) taskParams() any {
	if t.force != nil {
		return *t.force
	}
	return t.params
}

// shown is the merge as it stands now.
func (t *tracked) shown() Merge {
	m := t.Merge
	if t.execution != nil && t.Where == Local {
		report := t.execution.Report()
		m.Progress, m.Note, m.Moved = report.Fraction, report.Note, m.Moved+report.BytesMoved
	}
	return m
}

// inputsIn tells whether the inputs are all in a generation.
func (t *tracked) inputsIn(m shard.Manifest) bool {
	for _, in := range t.inputs {
		if now, ok := m.Segment(in.ID); !ok || now.Blob != in.Blob {
			return false
		}
	}
	return true
}

// appliedIn returns the allocation id under which the merge was committed; ok is false if it was not.
func (t *tracked) appliedIn(m shard.Manifest) (allocation int64, ok bool) {
	for _, a := range m.Applied {
		if a.Task == t.ID {
			return a.AllocationID, true
		}
	}
	return 0, false
}
