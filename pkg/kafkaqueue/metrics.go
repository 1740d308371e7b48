package kafkaqueue

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the instruments of one part of the queue. Labels are few and
// bounded: topic (a type's task and return topic, the tiers as one), kind and result.
type metrics struct {
	polled     metric.Int64Counter
	pollErrors metric.Int64Counter
	commits    metric.Int64Counter
	gaps       metric.Int64Counter
	published  metric.Int64Counter
	retried    metric.Int64Counter
	open       metric.Int64ObservableGauge
	age        metric.Float64ObservableGauge
	paused     metric.Int64ObservableGauge
	acked      map[kind]metric.MeasurementOption // the attributes of what went well, made once
	meter      metric.Meter
}

// newMetrics makes the instruments; the first error is returned.
func newMetrics(meter metric.Meter) (*metrics, error) {
	m := &metrics{meter: meter, acked: map[kind]metric.MeasurementOption{}}
	for _, k := range []kind{kindTask, kindEvent, kindHop, kindDeadLetter, kindRoute, kindSetting} {
		m.acked[k] = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", string(k)), attribute.String("result", "ok")))
	}
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	m.polled = counter("kafkaqueue.records.polled", "{record}", "Records delivered by Kafka.")
	m.pollErrors = counter("kafkaqueue.poll.errors", "{error}", "Errors that Kafka's fetches and groups answered with.")
	m.commits = counter("kafkaqueue.commits", "{commit}", "Commits of watermarks, by result.")
	m.gaps = counter("kafkaqueue.records.lost", "{record}", "Offsets that Kafka lost before they were finished.")
	m.published = counter("kafkaqueue.records.published", "{record}", "Publications by kind and result.")
	m.retried = counter("kafkaqueue.publish.retries", "{record}", "Publications that were tried again.")
	m.open = gauge("kafkaqueue.records.open", "{record}", "Records delivered and not finished.")
	m.paused = gauge("kafkaqueue.partitions.paused", "{partition}", "Partitions whose window is full.")
	age, err := meter.Float64ObservableGauge("kafkaqueue.watermark.age", metric.WithUnit("s"),
		metric.WithDescription("How long the oldest record at a watermark has been open."))
	m.age = age
	return m, errors.Join(append(errs, err)...)
}

func (m *metrics) addPolled(ctx context.Context, topic string, n int) {
	if n > 0 {
		m.polled.Add(ctx, int64(n), metric.WithAttributes(attribute.String("topic", topic)))
	}
}

func (m *metrics) addPollError(ctx context.Context, group string) {
	m.pollErrors.Add(ctx, 1, metric.WithAttributes(attribute.String("group", group)))
}

func (m *metrics) addCommit(ctx context.Context, group string, err error) {
	m.commits.Add(ctx, 1, metric.WithAttributes(attribute.String("group", group), attribute.String("result", result(err))))
}

func (m *metrics) addGap(ctx context.Context, g Gap) {
	m.gaps.Add(ctx, g.To-g.From, metric.WithAttributes(attribute.String("topic", g.Topic)))
}

// observe calls look for each collection until the returned function is called.
func (m *metrics) observe(group string, look func(now time.Time) (open, paused int, age time.Duration)) (stop func(), err error) {
	attrs := metric.WithAttributes(attribute.String("group", group))
	r, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		open, paused, age := look(time.Now())
		o.ObserveInt64(m.open, int64(open), attrs)
		o.ObserveInt64(m.paused, int64(paused), attrs)
		o.ObserveFloat64(m.age, age.Seconds(), attrs)
		return nil
	}, m.open, m.paused, m.age)
	if err != nil {
		return func() {}, err
	}
	return func() { _ = r.Unregister() }, nil
}

func (m *metrics) publishedAttrs(k kind, err error) metric.MeasurementOption {
	if err == nil {
		return m.acked[k]
	}
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", string(k)), attribute.String("result", result(err))))
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(err, ErrClosed):
		return "closed"
	}
	return "error"
}
