package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

// scope names our instruments among those of other libraries.
const scope = "github.com/offline-nodes/offline-nodes"

// Config of [Start].
type Config struct {
	Service  string // name of the program: service.name
	Version  string // service.version
	Instance string // which process of many: service.instance.id; may be empty

	Log       config.Log
	Telemetry config.Telemetry
	Output    io.Writer // of the log; nil: standard error
}

// Telemetry of one process, from [Start] to Shutdown. It is safe for
// concurrent use.
type Telemetry struct {
	Log   *slog.Logger
	Level *slog.LevelVar // changes what Log writes, at any time
	// Registry is where /metrics reads; other collectors may be added.
	Registry *prometheus.Registry

	meters *sdkmetric.MeterProvider
	traces tracing
}

// Start sets everything up. It waits for nothing: a collector that cannot be
// reached is told in the log, later, and stops nothing.
func Start(ctx context.Context, cfg Config) (*Telemetry, error) {
	t := &Telemetry{Level: &slog.LevelVar{}, Registry: prometheus.NewRegistry()}
	if err := t.startLog(cfg); err != nil {
		return nil, err
	}
	self, err := describe(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("telemetry: describe the process: %w", err)
	}
	if err := t.startMetrics(self); err != nil {
		return nil, fmt.Errorf("telemetry: metrics: %w", err)
	}
	if t.traces, err = startTraces(ctx, cfg.Telemetry, self); err != nil {
		return nil, fmt.Errorf("telemetry: traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Log.Warn("telemetry failed", "error", err) }))
	otel.SetMeterProvider(t.meters)
	otel.SetTracerProvider(t.traces)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return t, nil
}

// Shutdown sends the traces that wait and ends the rest. ctx bounds it.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	return errors.Join(t.traces.shutdown(ctx), t.meters.Shutdown(ctx))
}

// Meter makes our instruments.
func (t *Telemetry) Meter() metric.Meter { return t.meters.Meter(scope) }

// Tracer makes our spans; without a collector it records nothing.
func (t *Telemetry) Tracer() trace.Tracer { return t.traces.Tracer(scope) }

// Metrics serves the registry to Prometheus.
func (t *Telemetry) Metrics() http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{Registry: t.Registry, EnableOpenMetrics: true})
}

// describe says which process this is; OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME
// add to it and win.
func describe(ctx context.Context, cfg Config) (*resource.Resource, error) {
	attributes := []attribute.KeyValue{
		attribute.String("service.name", cfg.Service),
		attribute.String("service.version", cfg.Version),
	}
	if cfg.Instance != "" {
		attributes = append(attributes, attribute.String("service.instance.id", cfg.Instance))
	}
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attributes...), resource.WithFromEnv())
}

func (t *Telemetry) startLog(cfg Config) error {
	if err := t.Level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return fmt.Errorf("telemetry: log level: %w", err)
	}
	output := cfg.Output
	if output == nil {
		output = os.Stderr
	}
	t.Log = slog.New(NewHandler(output, cfg.Log.Format, t.Level))
	return nil
}
