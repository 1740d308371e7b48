package kafkaqueue

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func TestInstrumentsTellWhatHappens(t *testing.T) {
	reader := sdk.NewManualReader()
	m, err := newMetrics(sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test"))
	require.NoError(t, err)
	m.addPolled(t.Context(), "tasks.merge", 7)
	m.addPolled(t.Context(), "tasks.merge", 0)
	m.addPollError(t.Context(), "g")
	m.addCommit(t.Context(), "g", nil)
	m.addCommit(t.Context(), "g", context.DeadlineExceeded)
	m.addGap(t.Context(), Gap{Topic: "tasks.merge", From: 3, To: 10})
	m.published.Add(context.Background(), 1, m.publishedAttrs(kindEvent, nil))
	m.published.Add(context.Background(), 1, m.publishedAttrs(kindEvent, ErrRefused))
	stop, err := m.observe("g", func(time.Time) (int, int, time.Duration) { return 5, 1, 90 * time.Second })
	require.NoError(t, err)
	got := collect(t, reader)
	require.Equal(t, map[string]float64{
		"kafkaqueue.records.polled": 7, "kafkaqueue.poll.errors": 1, "kafkaqueue.commits": 2, "kafkaqueue.records.lost": 7,
		"kafkaqueue.records.published": 2, "kafkaqueue.records.open": 5, "kafkaqueue.partitions.paused": 1, "kafkaqueue.watermark.age": 90,
	}, got)
	stop()
	require.NotContains(t, collect(t, reader), "kafkaqueue.records.open")
}

// collect sums each instrument over its labels.
func collect(t *testing.T, reader sdk.Reader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	sums := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					sums[m.Name] += float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					sums[m.Name] += float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					sums[m.Name] += p.Value
				}
			}
		}
	}
	return sums
}
