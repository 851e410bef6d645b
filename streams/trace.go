package streams

import (
	"errors"
	"fmt"
	"strings"
)

// A Trace ties an event to the publish that made it, where that is traced: the text of a
// W3C traceparent of version 00, which is 55 bytes of ASCII. "" is for no trace.
//
// https://www.w3.org/TR/trace-context/#traceparent-header
type Trace string

// ErrTrace reports what is no Trace.
var ErrTrace = errors.New("not a traceparent of version 00")

const (
	traceForm  = "00-" + noTraceID + "-" + noSpanID + "-00"
	noTraceID  = "00000000000000000000000000000000" // which is invalid, says the standard
	noSpanID   = "0000000000000000"                 // as well
	traceIDEnd = len("00-") + len(noTraceID)
	spanIDEnd  = traceIDEnd + len("-") + len(noSpanID)
)

// ParseTrace returns s, which must not be "". The error is ErrTrace.
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

// TraceID returns the trace's id, of 32 hexadecimal digits. t must not be "".
func (t Trace) TraceID() string { return string(t[len("00-"):traceIDEnd]) }

// SpanID returns the id of the publish's span, of 16 hexadecimal digits. t must not be "".
func (t Trace) SpanID() string { return string(t[traceIDEnd+len("-") : spanIDEnd]) }

// Sampled reports whether whoever began the trace keeps it. t must not be "".
func (t Trace) Sampled() bool { return strings.IndexByte("13579bdf", t[len(t)-1]) >= 0 }
