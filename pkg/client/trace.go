package client

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// trace starts the span of a submission and puts its context into the
// record's headers; the caller's own, when there is no tracer.
func (c *Client) trace(ctx context.Context, d *task.Delivery) (end func(error)) {
	end = func(error) {}
	if c.cfg.Tracer != nil {
		var span trace.Span
		ctx, span = c.cfg.Tracer.Start(ctx, "publish "+d.Type, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
			attribute.String("messaging.system", "kafka"),
			attribute.String("messaging.operation.type", "send"),
			attribute.String("task.id", d.ID),
			attribute.String("task.type", d.Type),
		))
		end = func(err error) {
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
			}
			span.End()
		}
	}
	if d.TraceParent == "" {
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		d.TraceParent, d.TraceState = carrier["traceparent"], carrier["tracestate"]
	}
	return end
}
