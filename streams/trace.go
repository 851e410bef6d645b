package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// A Trace identifies the span of the publish that created an event. It is the text of a W3C
// traceparent of version 00, which is 55 bytes of ASCII. "" means that the publish is not
// traced.
//
// https://www.w3.org/TR/trace-context/#traceparent-header
type Trace string

// ErrTrace reports text that is not a Trace.
var ErrTrace = errors.New("not a traceparent of version 00")

const (
	traceForm  = "00-" + noTraceID + "-" + noSpanID + "-00"
	noTraceID  = "00000000000000000000000000000000" // invalid by the standard
	noSpanID   = "0000000000000000"                 // invalid by the standard
	traceIDEnd = len("00-") + len(noTraceID)
	spanIDEnd  = traceIDEnd + len("-") + len(noSpanID)
)

// ParseTrace reads a traceparent. The error is ErrTrace, also for "".
func ParseTrace(s string) (Trace, error) {
	if len(s) != len(traceForm) {
		return "", fmt.Errorf("%w: %d bytes", ErrTrace, len(s))
	}
	for i := range len(s) {
		digit := i >= len("00-") && strings.IndexByte("0123456789abcdef", s[i]) >= 0
		if s[i] != traceForm[i] && (traceForm[i] == '-' || !digit) {
			return "", fmt.Errorf("%w: %q", ErrTrace, s)
		}
	}
	t := Trace(s)
	if t.TraceID() == noTraceID || t.SpanID() == noSpanID {
		return "", fmt.Errorf("%w: %q", ErrTrace, s)
	}
	return t, nil
}

// TraceID returns the trace's id, 32 hexadecimal digits. t must not be "".
func (t Trace) TraceID() string { return string(t[len("00-"):traceIDEnd]) }

// SpanID returns the id of the publish's span, 16 hexadecimal digits. t must not be "".
func (t Trace) SpanID() string { return string(t[traceIDEnd+len("-") : spanIDEnd]) }

// Sampled reports whether the process that started the trace records it. t must not be "".
func (t Trace) Sampled() bool { return strings.IndexByte("13579bdf", t[len(t)-1]) >= 0 }

// TraceOf returns the trace that continues from the span in ctx; "" without a span, or if
// the span is not sampled.
func TraceOf(ctx context.Context) Trace {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() || !sc.IsSampled() {
		return ""
	}
	return Trace("00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-01")
}

// Within returns ctx with the span of t as the parent of new spans, or ctx if t is "".
func (t Trace) Within(ctx context.Context) context.Context {
	if t == "" {
		return ctx
	}
	// ParseTrace has checked the form of both ids.
	traceID, _ := trace.TraceIDFromHex(t.TraceID())
	spanID, _ := trace.SpanIDFromHex(t.SpanID())
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(0).WithSampled(t.Sampled()),
	}))
}
