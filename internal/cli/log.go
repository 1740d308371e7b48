package cli

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/telemetry"
)

// newLog is the log of a program that people watch: warnings alone, unless a
// flag asked for a level. What the Kafka client says to itself is left out
// then: the error that follows says it better.
func newLog(w io.Writer, settings config.Log, asked bool) *slog.Logger {
	level := slog.LevelWarn
	if asked {
		_ = level.UnmarshalText([]byte(settings.Level)) // one of the four that Load allows
	}
	handler := telemetry.NewHandler(w, settings.Format, level)
	if !asked {
		handler = quiet{handler}
	}
	return slog.New(handler)
}

// quiet leaves out what the Kafka client logs.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "kafka client") {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }
