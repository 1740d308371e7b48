package remotegc

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the instruments of a collector. Labels: verdict and reason.
type metrics struct {
	objects metric.Int64Counter
	bytes   metric.Int64Counter
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	objects, oerr := meter.Int64Counter("remotegc.objects", metric.WithUnit("{object}"),
		metric.WithDescription("Objects that garbage collections have found, by verdict and reason."))
	bytes, berr := meter.Int64Counter("remotegc.bytes", metric.WithUnit("By"),
		metric.WithDescription("Size of the objects that garbage collections have found, by verdict and reason."))
	return &metrics{objects, bytes}, errors.Join(oerr, berr)
}

func (m *metrics) found(ctx context.Context, t Tally) {
	for r, c := range t {
		labels := metric.WithAttributes(attribute.String("verdict", string(r.Verdict())), attribute.String("reason", string(r)))
		m.objects.Add(ctx, int64(c.Objects), labels)
		m.bytes.Add(ctx, c.Bytes, labels)
	}
}
