package telemetry

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// startMetrics fills the registry: our instruments, the Go runtime, the process.
func (t *Telemetry) startMetrics(self *resource.Resource) error {
	err := errors.Join(
		t.Registry.Register(collectors.NewGoCollector()),
		t.Registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		t.Registry.Register(collectors.NewBuildInfoCollector()),
	)
	if err != nil {
		return err
	}
	// Who made an instrument is told by its name: a label on every series
	// would say it again.
	reader, err := prometheus.New(prometheus.WithRegisterer(t.Registry), prometheus.WithoutScopeInfo())
	if err != nil {
		return err
	}
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(self))
	return nil
}
