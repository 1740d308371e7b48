package telemetry

import (
	"context"
	"io"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// NewHandler writes log lines as "json" or, else, as text. Lines whose context
// has a span carry its trace_id and span_id.
func NewHandler(w io.Writer, format string, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return traced{inner: slog.NewJSONHandler(w, options)}
	}
	return traced{inner: slog.NewTextHandler(w, options)}
}

// traced adds the span's ids. They stand on top of the line, also for loggers
// with groups: so the attributes of With and the groups are kept here, and
// given to the inner handler after the ids.
type traced struct {
	inner slog.Handler
	after []func(slog.Handler) slog.Handler
}

func (h traced) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	inner := h.inner
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		inner = inner.WithAttrs([]slog.Attr{
			slog.String("trace_id", span.TraceID().String()),
			slog.String("span_id", span.SpanID().String()),
		})
	}
	for _, apply := range h.after {
		inner = apply(inner)
	}
	return inner.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.after) == 0 {
		return traced{inner: h.inner.WithAttrs(attrs)}
	}
	return h.then(func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

func (h traced) WithGroup(name string) slog.Handler {
	return h.then(func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

func (h traced) then(apply func(slog.Handler) slog.Handler) traced {
	return traced{inner: h.inner, after: append(slices.Clip(h.after), apply)}
}
