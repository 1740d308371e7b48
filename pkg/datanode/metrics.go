package datanode

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// metrics are the node's instruments, over all its shards. Labels are outcomes and places, never names of shards.
type metrics struct {
	writes, searches metric.Float64Histogram
	merges           metric.Int64Counter
	mergeBytes       metric.Int64Counter
	mergeDuration    metric.Float64Histogram
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.NewMeterProvider().Meter("datanode")
	}
	var errs []error
	seconds := func(name, what string, bounds ...float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	m := &metrics{
		writes: seconds("offline_data_write_duration", "How long bulks took until they were in the store, by outcome.",
			0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60),
		searches: seconds("offline_data_search_duration", "How long searches took, by outcome.",
			0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
		merges:     counter("offline_data_merges", "", "Ended merges, by where they ran and what came of them."),
		mergeBytes: counter("offline_data_merge_input", "By", "Bytes of segments that were merged, by where."),
		mergeDuration: seconds("offline_data_merge_duration", "From planning a merge to its end, by where it ran.",
			0.1, 1, 10, 60, 600, 3600, 6*3600),
	}
	return m, errors.Join(errs...)
}

func (m *metrics) bulk(ctx context.Context, took time.Duration, err error) {
	m.writes.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("outcome", outcomeOf(err))))
}

func (m *metrics) search(ctx context.Context, took time.Duration, err error) {
	m.searches.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("outcome", outcomeOf(err))))
}

func (m *metrics) merge(ctx context.Context, g *Merge) {
	where := attribute.String("where", string(g.Where))
	m.merges.Add(ctx, 1, metric.WithAttributes(where, attribute.String("status", string(g.Status))))
	if g.Status == Committed {
		m.mergeBytes.Add(ctx, g.Bytes, metric.WithAttributes(where))
		m.mergeDuration.Record(ctx, g.EndedAt.Sub(g.PlannedAt).Seconds(), metric.WithAttributes(where))
	}
}

func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrBusy):
		return "busy"
	case errors.Is(err, ErrInvalid):
		return "invalid"
	case errors.Is(err, ErrNotWriter):
		return "not_writer"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "ended"
	default:
		return "error"
	}
}
