package node

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traces makes one span per attempt, under the submitter's: the record's
// headers carry the trace through every hop. A record without a sampled trace
// costs nothing.
type traces struct{ tracer trace.Tracer }

// attempt starts the span of a record's run; end must be called with what the
// worker returned.
func (t traces) attempt(ctx context.Context, r *record) (_ context.Context, end func(error)) {
	if t.tracer == nil || r.TraceParent == "" {
		return ctx, func(error) {}
	}
	carrier := propagation.MapCarrier{"traceparent": r.TraceParent, "tracestate": r.TraceState}
	ctx = propagation.TraceContext{}.Extract(ctx, carrier)
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(ctx, "process "+r.Type, //nolint:spancheck // the caller ends it
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("messaging.system", "kafka"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", r.Origin.Topic),
			attribute.String("task.id", r.ID),
			attribute.String("task.type", r.Type),
			attribute.Int("task.attempt", r.Attempt),
			attribute.Int64("task.allocation_id", r.run.allocation),
		))
	carrier = propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier) // the event hangs on this one
	r.run.traceParent, r.run.traceState = carrier["traceparent"], carrier["tracestate"]
	return ctx, func(err error) { //nolint:spancheck // the caller ends it
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
