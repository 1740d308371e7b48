package telemetry

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

// tracing is a provider and how it ends.
type tracing struct {
	trace.TracerProvider
	shutdown func(context.Context) error
}

// startTraces exports to the collector, or records nothing when there is none.
func startTraces(ctx context.Context, settings config.Telemetry, self *resource.Resource) (tracing, error) {
	if settings.OTLPEndpoint == "" {
		return tracing{TracerProvider: noop.NewTracerProvider(), shutdown: func(context.Context) error { return nil }}, nil
	}
	exporter, err := newExporter(ctx, settings)
	if err != nil {
		return tracing{}, err
	}
	// A trace that was begun elsewhere is kept or dropped as its maker decided.
	sampler := sdktrace.ParentBased(sdktrace.TraceIDRatioBased(settings.Sampling))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(self), sdktrace.WithSampler(sampler))
	return tracing{TracerProvider: provider, shutdown: provider.Shutdown}, nil
}

// newExporter connects when it has something to send.
func newExporter(ctx context.Context, settings config.Telemetry) (*otlptrace.Exporter, error) {
	switch settings.OTLPProtocol {
	case "grpc":
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(settings.OTLPEndpoint))
	case "http":
		endpoint, err := tracesURL(settings.OTLPEndpoint)
		if err != nil {
			return nil, err
		}
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	}
	return nil, fmt.Errorf("unknown protocol %q: use grpc or http", settings.OTLPProtocol)
}

// tracesURL is where a collector takes traces over HTTP: below its endpoint,
// as OTEL_EXPORTER_OTLP_ENDPOINT means it.
func tracesURL(endpoint string) (string, error) {
	const path = "v1/traces"
	if strings.HasSuffix(endpoint, "/"+path) {
		return endpoint, nil
	}
	return url.JoinPath(endpoint, path)
}
