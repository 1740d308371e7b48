package node

import (
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// firstInfo is the body of a state that does not exist yet: what the record
// itself tells. It is short, because every claim carries one.
func (s *Service) firstInfo(d *task.Delivery) *claims.Info {
	return &claims.Info{
		Type: d.Type, SubmittedAt: d.SubmittedAt, OpaqueID: d.OpaqueID, MaxAttempts: d.MaxAttempts, Deadline: d.Deadline,
	}
}

// buryInfo is the body of a record's state that cannot run.
func (s *Service) buryInfo(d *task.Delivery, why error) *claims.Info {
	info := s.firstInfo(d)
	now := time.Now()
	info.Node, info.CompletedAt, info.FirstFailure = s.cfg.Name, now, now
	info.Error, info.Class = task.Cut(why.Error()), task.Class(why)
	return info
}

// info is the body of a claimed task's state.
func (s *Service) info(r *record, report task.Report) *claims.Info {
	info := s.firstInfo(&r.Delivery)
	run := r.run
	run.mu.Lock()
	started := run.started
	run.mu.Unlock()
	info.Node, info.AssignedAt, info.StartedAt, info.BeatAt = s.cfg.Name, run.granted, r.startedAt(started), time.Now()
	info.Fraction, info.Note, info.Checkpoint = report.Fraction, report.Note, report.Checkpoint
	info.BytesMoved, info.FirstFailure = report.BytesMoved, run.first
	if r.lane.def.Describe != nil {
		info.Describe = r.lane.def.Describe(r.Params)
	}
	return info
}
