package problem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A recordingHandler keeps the level and attributes of each log record.
type recordingHandler struct{ lines []string }

func (h *recordingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *recordingHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *recordingHandler) WithGroup(string) slog.Handler            { return h }

func (h *recordingHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "error" {
			line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	h.lines = append(h.lines, line)
	return nil
}

func newTestReporter() (*Reporter, *recordingHandler) {
	h := &recordingHandler{}
	return NewReporter(slog.New(h), prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"code"})), h
}

// A repeated failure is logged once in ten seconds for each code, with the number of those
// that were not.
func TestFailuresAreLoggedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := newTestReporter()
		for range 100_000 {
			r.LogFailure(fmt.Errorf("%w: away", streams.ErrUnavailable))
		}
		r.LogFailure(errors.New("a fault"))
		time.Sleep(10 * time.Second)
		r.LogFailure(streams.ErrUnavailable)
		want := []string{
			"ERROR code=log-unavailable suppressed=0", "ERROR code=internal suppressed=0", "ERROR code=log-unavailable suppressed=99999",
		}
		if !slices.Equal(h.lines, want) {
			t.Errorf("logged %q, want %q", h.lines, want)
		}
	})
}

// What clients do, and what a node does on purpose, is not a failure.
func TestOnlyFailuresAreLogged(t *testing.T) {
	r, h := newTestReporter()
	for _, err := range []error{
		nil, ErrBody, ErrRateLimited, ErrTooManyNewRooms, ErrDraining, ErrOverloaded, limits.ErrNodeFull, service.ErrRoomsFull, access.ErrUnavailable,
		context.Canceled, fmt.Errorf("%w: %w", streams.ErrUnavailable, context.Canceled),
	} {
		r.LogFailure(err)
	}
	r.LogUnauthenticated(errors.New("a fault"))
	for _, line := range h.lines {
		if !strings.HasPrefix(line, "DEBUG") {
			t.Errorf("logged %s", line)
		}
	}
	if len(h.lines) != 3 {
		t.Errorf("logged %q, want three lines", h.lines)
	}
}

// A document's detail does not repeat its title.
func TestDetailDoesNotRepeatTheTitle(t *testing.T) {
	d := Of(fmt.Errorf("%w: 70000 bytes, want at most 65536", streams.ErrTooBig))
	if d.Title != "Event data too large" || d.Detail != "70000 bytes, want at most 65536" {
		t.Errorf("%q: %q", d.Title, d.Detail)
	}
	for _, k := range Kinds() {
		if d := Of(fmt.Errorf("%w: because", k.err)); strings.HasPrefix(strings.ToLower(d.Detail), strings.ToLower(d.Title)+":") {
			t.Errorf("%q: %q", d.Title, d.Detail)
		}
	}
}
