package node

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// route moves what is due out of the delay tiers until ctx ends. What the
// router cannot deliver becomes a dead letter, settled like any other.
func (s *Service) route(ctx context.Context) error {
	var router *kafkaqueue.Router
	router, err := kafkaqueue.NewRouter(s.cfg.Kafka, func(d task.Delivery, why error) {
		d.Err, d.Reason = why, cmp.Or(d.Reason, task.Unroutable)
		s.calls.Go(func() { s.unroutable(ctx, router, d) })
	})
	if err != nil {
		return err
	}
	return router.Run(ctx)
}

// unroutable settles a record of a tier as failed, unless its task goes on
// without it, and then lets the tier forget it.
func (s *Service) unroutable(ctx context.Context, router *kafkaqueue.Router, d task.Delivery) {
	burial := claims.Burial{
		ID: d.ID, Replay: d.Replay, Attempt: d.Attempt, Hop: d.Hop, ParamsHash: task.Hash(d.Params),
		NotBefore: d.NotBefore, Reason: d.Reason, Info: s.buryInfo(&d, d.Err).Encode(),
	}
	nonce := uuid.NewString()
	for {
		var answers []claims.Answer
		err := retry(ctx, func(ctx context.Context) (err error) {
			answers, err = s.claims.Bury(ctx, nonce, []claims.Burial{burial})
			return err
		})
		if err != nil {
			return // it comes again
		}
		switch a := answers[0]; a.Verdict {
		case claims.Settled, claims.Superseded, claims.Conflict:
			router.Finish(&d)
			return
		case claims.Owed:
			s.effects.buried(d, a.State, func() { router.Finish(&d) })
			return
		case claims.Cold:
			s.rebuild.wanted()
		case claims.Held, claims.Early, claims.Failed, claims.Granted, claims.Free: // ask again
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}
