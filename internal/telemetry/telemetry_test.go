package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/telemetry"
)

func start(t testing.TB, change func(*telemetry.Config)) *telemetry.Telemetry {
	t.Helper()
	cfg := telemetry.Config{
		Service: "offline-node", Version: "v1.2.3", Instance: "a",
		Log: config.Defaults().Log, Telemetry: config.Defaults().Telemetry, Output: io.Discard,
	}
	if change != nil {
		change(&cfg)
	}
	started, err := telemetry.Start(t.Context(), cfg)
	require.NoError(t, err)
	return started
}

func TestMetricsShowOurInstrumentsAndTheRuntime(t *testing.T) {
	tel := start(t, nil)
	defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
	claims, err := tel.Meter().Int64Counter("offline_node_claims")
	require.NoError(t, err)
	claims.Add(t.Context(), 3)

	answer := httptest.NewRecorder()
	tel.Metrics().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code)
	text := answer.Body.String()
	require.Contains(t, text, "offline_node_claims_total 3\n", "no label but our own")
	require.Contains(t, text, "go_goroutines")
	require.Contains(t, text, "process_open_fds")
	require.Contains(t, text, `service_name="offline-node"`)
	require.Contains(t, text, `service_version="v1.2.3"`)
}

func TestTwoInOneProcessDoNotShareARegistry(t *testing.T) {
	one, other := start(t, nil), start(t, nil)
	require.NotSame(t, one.Registry, other.Registry)
}

func TestTheLevelChangesWhileItRuns(t *testing.T) {
	var out bytes.Buffer
	tel := start(t, func(c *telemetry.Config) { c.Output, c.Log.Level = &out, "error" })
	tel.Log.Info("before")
	require.NoError(t, tel.Level.UnmarshalText([]byte("info")))
	tel.Log.Info("after")
	require.NotContains(t, out.String(), "before")
	require.Contains(t, out.String(), "after")
}

func TestWithoutACollectorTraceContextsTravelOn(t *testing.T) {
	tel := start(t, nil)
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), span)
	ctx, started := tel.Tracer().Start(ctx, "publish")
	defer started.End()
	require.False(t, started.IsRecording())

	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	require.Contains(t, carrier["traceparent"], span.TraceID().String())
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	_, err := telemetry.Start(t.Context(), telemetry.Config{Log: config.Log{Level: "loud"}})
	require.ErrorContains(t, err, "log level")
	_, err = telemetry.Start(t.Context(), telemetry.Config{
		Log: config.Defaults().Log, Telemetry: config.Telemetry{OTLPEndpoint: "http://a", OTLPProtocol: "smoke"},
	})
	require.ErrorContains(t, err, "smoke")
}

// spans collects what a collector gets.
type spans struct {
	collector.UnimplementedTraceServiceServer
	mu   sync.Mutex
	got  map[string]string // span's name → service.name
	path string
}

func (s *spans) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		var service string
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, in := range resource.GetScopeSpans() {
			for _, sp := range in.GetSpans() {
				s.got[sp.GetName()] = service
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// ServeHTTP takes traces as OTLP over HTTP.
func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unpacked
	}
	raw, err := io.ReadAll(body)
	var request collector.ExportTraceServiceRequest
	if err := errors.Join(err, proto.Unmarshal(raw, &request)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.path = r.URL.Path
	_, _ = s.Export(r.Context(), &request)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(http.StatusOK)
}

// record makes one span of each kind and sends them.
func record(t testing.TB, endpoint, protocol string, sampling float64) {
	t.Helper()
	tel := start(t, func(c *telemetry.Config) {
		c.Telemetry = config.Telemetry{OTLPEndpoint: endpoint, OTLPProtocol: protocol, Sampling: sampling}
	})
	_, root := tel.Tracer().Start(t.Context(), "root")
	root.End()
	_, child := tel.Tracer().Start(trace.ContextWithRemoteSpanContext(t.Context(), span), "child of a kept trace")
	child.End()
	require.NoError(t, tel.Shutdown(t.Context()))
}

func TestTracesGoToACollectorOverHTTP(t *testing.T) {
	for _, path := range []string{"", "/", "/v1/traces"} {
		got := &spans{got: map[string]string{}}
		server := httptest.NewServer(got)
		record(t, server.URL+path, "http", 1)
		server.Close()
		require.Equal(t, map[string]string{"root": "offline-node", "child of a kept trace": "offline-node"}, got.got)
		require.Equal(t, "/v1/traces", got.path)
	}
}

func TestTracesGoToACollectorOverGRPC(t *testing.T) {
	got := &spans{got: map[string]string{}}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, got)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		require.NoError(t, <-served)
	}()
	record(t, "http://"+listener.Addr().String(), "grpc", 0)
	require.Equal(t, map[string]string{"child of a kept trace": "offline-node"}, got.got, "new traces are not sampled, others as their maker decided")
}

func TestACollectorThatIsAwayStopsNothing(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())

	tel := start(t, func(c *telemetry.Config) {
		c.Telemetry = config.Telemetry{OTLPEndpoint: "http://" + addr, OTLPProtocol: "http", Sampling: 1}
	})
	_, sp := tel.Tracer().Start(t.Context(), "lost")
	sp.End()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, tel.Shutdown(ended), "what could not be sent is told")
}
