package problem

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/internal/logfilter"
)

// failurePeriod is the minimum time between two log lines about failures with one code. A
// failing log would otherwise cause a line per request.
const failurePeriod = 10 * time.Second

// A Reporter counts the problems that clients are told about, and logs failures of the
// server. It may be used concurrently.
type Reporter struct {
	logger   *slog.Logger
	problems *prometheus.CounterVec       // by code
	failures map[string]*logfilter.Filter // by code; fixed by NewReporter
}

// NewReporter returns a Reporter that logs to logger and counts in problems, which has
// one label, the code. Every code is there from the start, at zero.
func NewReporter(logger *slog.Logger, problems *prometheus.CounterVec) *Reporter {
	r := &Reporter{logger, problems, make(map[string]*logfilter.Filter)}
	for _, k := range kinds {
		problems.WithLabelValues(k.Code)
		r.failures[k.Code] = &logfilter.Filter{Period: failurePeriod}
	}
	return r
}

// Document returns what a client is told about err, and counts it.
func (r *Reporter) Document(err error) *Document {
	d := Of(err)
	r.problems.WithLabelValues(d.Code).Inc()
	return d
}

// LogFailure writes the full text of err to the log if the server, not the client, is at
// fault. It logs each code at most once in failurePeriod, with the number of failures that
// were not logged. It ignores the end of a request whose client has left.
func (r *Reporter) LogFailure(err error) {
	if err == nil {
		return
	}
	k := KindOf(err)
	switch {
	case errors.Is(err, context.Canceled):
		r.logger.Debug("a request ended with its client", "error", err)
	case k.Status < http.StatusInternalServerError || k.expected:
	default:
		if suppressed, ok := r.failures[k.Code].Pass(); ok {
			r.logger.Error("a request failed", "code", k.Code, "error", err, "suppressed", suppressed)
		}
	}
}

// LogUnauthenticated is LogFailure for a request without a valid credential. It does not
// write an error to the log, because anyone can send such requests.
func (r *Reporter) LogUnauthenticated(err error) {
	r.logger.Debug("a request without a valid credential failed", "code", CodeOf(err), "error", err)
}

// LogPanic logs a recovered panic with its stack. It must be called in the deferred
// function that recovered.
func (r *Reporter) LogPanic(value any) {
	r.logger.Error("panic", "value", value, "stack", string(debug.Stack()))
}
