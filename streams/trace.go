package streams

import (
	"errors"
	"fmt"
	"strings"
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
