package serve

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// Spans go to the configured collector, and by default to one on this machine without TLS.
func TestCollectorAddress(t *testing.T) {
	for endpoint, want := range map[string]string{
		"":                        "http://localhost:4318/v1/traces",
		"https://c.example.com":   "https://c.example.com/v1/traces",
		"http://c.example.com/at": "http://c.example.com/at/v1/traces",
	} {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
		var got string
		client := &http.Client{Transport: recorder(func(r *http.Request) { got = r.URL.String() })}
		exporter, err := otlptracehttp.New(t.Context(), append(exporterOptions(os.Getenv), otlptracehttp.WithHTTPClient(client))...)
		if err != nil {
			t.Fatal(err)
		}
		provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
		_, span := provider.Tracer("").Start(t.Context(), "x")
		span.End()
		if got != want {
			t.Errorf("with the endpoint %q spans go to %q, want %q", endpoint, got, want)
		}
	}
}

// A recorder reports requests to a function and answers them with 200.
type recorder func(*http.Request)

func (f recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	f(r)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}}, nil
}

func TestTracingWanted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "1"}, true}, // only "true" disables it
		{map[string]string{"OTEL_SERVICE_NAME": "x", "OTEL_METRICS_EXPORTER": "otlp"}, false},
	} {
		if got, err := tracingWanted(func(name string) string { return tc.env[name] }); got != tc.want || err != nil {
			t.Errorf("%v: %v, %v", slices.Sorted(maps.Keys(tc.env)), got, err)
		}
	}
}

// Lost spans are logged at most once a minute.
func TestLostSpansAreLoggedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := newExportErrors(slog.New(slog.NewTextHandler(&out, nil)))
		for range 150 {
			e.Handle(http.ErrServerClosed)
			time.Sleep(time.Second)
		}
		if got := strings.Split(strings.TrimSpace(out.String()), "\n"); len(got) != 3 || !strings.Contains(got[1], "suppressed=59") {
			t.Errorf("the log has %q", got)
		}
	})
}
