package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/offline-nodes/offline-nodes/internal/telemetry"
)

var span = trace.NewSpanContext(trace.SpanContextConfig{
	TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4, 5, 6}, TraceFlags: trace.FlagsSampled,
})

func lines(t testing.TB, written []byte) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(string(written)) {
		var decoded map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &decoded))
		lines = append(lines, decoded)
	}
	return lines
}

func TestTheHandlerKeepsTheRulesOfSlog(t *testing.T) {
	var out bytes.Buffer
	handler := telemetry.NewHandler(&out, "json", slog.LevelInfo)
	require.NoError(t, slogtest.TestHandler(handler, func() []map[string]any { return lines(t, out.Bytes()) }))
}

func TestLinesCarryTheTraceTheyBelongTo(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(telemetry.NewHandler(&out, "json", slog.LevelInfo))
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	log.InfoContext(ctx, "plain")
	log.With("node", "a").WithGroup("g").With("b", 1).InfoContext(ctx, "grouped", "c", 2)
	log.InfoContext(t.Context(), "no span")

	got := lines(t, out.Bytes())
	require.Equal(t, "01020300000000000000000000000000", got[0]["trace_id"])
	require.Equal(t, "0405060000000000", got[0]["span_id"])
	require.Equal(t, "0405060000000000", got[1]["span_id"], "on top, not in the group")
	require.Equal(t, "a", got[1]["node"])
	require.Equal(t, map[string]any{"b": 1.0, "c": 2.0}, got[1]["g"])
	require.NotContains(t, got[2], "trace_id")
}

func TestLoggersThatBranchDoNotMix(t *testing.T) {
	var out bytes.Buffer
	base := slog.New(telemetry.NewHandler(&out, "json", slog.LevelInfo)).WithGroup("g").With("a", 1)
	left, right := base.With("side", "left"), base.With("side", "right")
	left.Info("x")
	right.Info("x")
	got := lines(t, out.Bytes())
	require.Equal(t, map[string]any{"a": 1.0, "side": "left"}, got[0]["g"])
	require.Equal(t, map[string]any{"a": 1.0, "side": "right"}, got[1]["g"])
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(telemetry.NewHandler(&out, "text", slog.LevelWarn))
	log.Info("quiet")
	log.Warn("loud", "task_id", "a b")
	require.NotContains(t, out.String(), "quiet")
	require.Contains(t, out.String(), `level=WARN msg=loud task_id="a b"`)
}
