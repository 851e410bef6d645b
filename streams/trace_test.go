package streams

import (
	"errors"
	"strings"
	"testing"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParseTrace(t *testing.T) {
	got, err := ParseTrace(traceparent)
	if err != nil || string(got) != traceparent || !got.Sampled() ||
		got.TraceID() != "4bf92f3577b34da6a3ce929d0e0e4736" || got.SpanID() != "00f067aa0ba902b7" {
		t.Errorf("ParseTrace = %q, %v: trace %s, span %s", got, err, got.TraceID(), got.SpanID())
	}
	for flags, want := range map[string]bool{"00": false, "01": true, "02": false, "03": true, "ff": true, "10": false} {
		if got, err := ParseTrace(traceparent[:53] + flags); err != nil || got.Sampled() != want {
			t.Errorf("flags %s: sampled %v, %v", flags, got.Sampled(), err)
		}
	}
}

// ParseTrace refuses texts that the standard calls invalid, and other versions.
func TestParseTraceRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":           "",
		"another version":   "01" + traceparent[2:],
		"the version ff":    "ff" + traceparent[2:],
		"capitals":          strings.ToUpper(traceparent),
		"no trace":          "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"no span":           "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"more":              traceparent + "-",
		"less":              traceparent[:54],
		"no digit":          traceparent[:54] + "g",
		"a dash elsewhere":  "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
		"a digit for dash":  "00a4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"a dash for digit":  "00-4bf92f3577b34da6a3ce929d0e0e473--00f067aa0ba902b7-01",
		"letters of others": "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
	} {
		if got, err := ParseTrace(s); got != "" || !errors.Is(err, ErrTrace) {
			t.Errorf("%s: ParseTrace(%q) = %q, %v", name, s, got, err)
		}
	}
}
