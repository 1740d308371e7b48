// Package telemetry gives a program its logger, its metrics and its traces.
//
// Log lines go to standard error as text or JSON and carry the trace they
// belong to. Metrics are kept in a Prometheus registry of the process's own,
// with those of the Go runtime, and are only ever read: see
// [Telemetry.Metrics]. Traces go to an OTLP collector when the settings name
// one; without one nothing is recorded, but trace contexts still travel.
//
// The libraries get what they need handed in. The OpenTelemetry globals are
// set too, once, for code that knows only them.
package telemetry
