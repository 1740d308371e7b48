package node

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// metrics are the node's instruments. Labels are types, verdicts and statuses,
// never a task's id.
type metrics struct {
	claims        metric.Int64Counter
	runs          metric.Int64Counter
	duration      metric.Float64Histogram
	claimFailures metric.Int64Counter
	beatFailures  metric.Int64Counter
	stale         metric.Int64Counter
	repeats       metric.Int64Counter
	letters       metric.Int64Counter
	stuck         metric.Int64Counter
	gaps          metric.Int64Counter
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.NewMeterProvider().Meter("node")
	}
	var errs []error
	counter := func(name, what string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	duration, err := meter.Float64Histogram("offline_node_run_duration", metric.WithUnit("s"),
		metric.WithDescription("How long runs took, by type and what came of them."),
		metric.WithExplicitBucketBoundaries(0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6*3600))
	return &metrics{
		claims:        counter("offline_node_claims", "Answers to claims, by type and verdict."),
		runs:          counter("offline_node_runs", "Ended runs, by type and what came of them."),
		duration:      duration,
		claimFailures: counter("offline_node_claim_failures", "Claim calls that Redis did not answer."),
		beatFailures:  counter("offline_node_beat_failures", "Beat calls that Redis did not answer."),
		stale:         counter("offline_node_stale_settlements", "Settlements refused because another claim decides."),
		repeats:       counter("offline_node_repeated_events", "Events published again because the first publisher may have died."),
		letters:       counter("offline_node_conflict_letters", "Dead letters of records whose id another task has."),
		stuck:         counter("offline_node_stuck_workers", "Workers that ignored their cancelled context."),
		gaps:          counter("offline_node_gap_records", "Records that retention took before anybody read them."),
	}, errors.Join(append(errs, err)...)
}

// observe shows what the node has claimed, by type.
func (s *Service) observe() (stop func(), err error) {
	meter := s.cfg.Meter
	if meter == nil {
		return func() {}, nil
	}
	running, err := meter.Int64ObservableGauge("offline_node_claimed", metric.WithDescription("Tasks that the node has claimed and not settled, by type."))
	if err != nil {
		return nil, err
	}
	slots, err := meter.Int64ObservableGauge("offline_node_slots", metric.WithDescription("Tasks that the node runs at a time, by type."))
	if err != nil {
		return nil, err
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		claimed := s.beats.count()
		for _, l := range s.lanes {
			typ := metric.WithAttributes(attribute.String("type", l.def.Type))
			o.ObserveInt64(running, int64(claimed[l.def.Type]), typ)
			o.ObserveInt64(slots, int64(l.def.Slots), typ)
		}
		return nil
	}, running, slots)
	if err != nil {
		return nil, err
	}
	return func() { _ = registration.Unregister() }, nil
}

// laneMetrics counts what happens to one type; its labels are made once.
type laneMetrics struct {
	*metrics
	verdicts [claims.Free + 1]metric.MeasurementOption
	ends     map[string]metric.MeasurementOption
}

func (m *metrics) lane(typ string) *laneMetrics {
	l := &laneMetrics{metrics: m, ends: map[string]metric.MeasurementOption{}}
	label := func(key, value string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("type", typ), attribute.String(key, value)))
	}
	for v := range l.verdicts {
		l.verdicts[v] = label("verdict", claims.Verdict(v).String())
	}
	for _, end := range []string{endInterrupted, endRetry, endWaiting, task.Success.String(), task.Failed.String(), task.Cancelled.String()} {
		l.ends[end] = label("outcome", end)
	}
	return l
}

func (l *laneMetrics) claimed(v claims.Verdict) {
	l.claims.Add(context.Background(), 1, l.verdicts[v])
}

const (
	endInterrupted = "INTERRUPTED"
	endRetry       = "RETRY"
	endWaiting     = "WAITING"
)

func (l *laneMetrics) ended(v task.Verdict, took time.Duration) {
	end := v.Status.String()
	switch {
	case v.Waiting:
		end = endWaiting
	case v.Interrupted:
		end = endInterrupted
	case !v.Status.Terminal():
		end = endRetry
	}
	l.runs.Add(context.Background(), 1, l.ends[end])
	l.duration.Record(context.Background(), took.Seconds(), l.ends[end])
}
