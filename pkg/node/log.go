package node

import (
	"context"
	"log/slog"
)

// runHandler says whose run a worker's log line is of. It does what Logger.With does
// when something is logged, which most runs never do.
type runHandler struct {
	slog.Handler // of the lane

	record     *record
	allocation int64
}

func (h *runHandler) named() slog.Handler {
	return h.Handler.WithAttrs([]slog.Attr{
		slog.String("task_id", h.record.ID), slog.Int("attempt", h.record.Attempt), slog.Int64("allocation_id", h.allocation),
	})
}

func (h *runHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.named().Handle(ctx, r)
}

func (h *runHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.named().WithAttrs(attrs) }

func (h *runHandler) WithGroup(name string) slog.Handler { return h.named().WithGroup(name) }
