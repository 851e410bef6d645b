// Package problem tells clients what went wrong: it has the errors of the HTTP edge, the
// one table from errors to codes, and the RFC 9457 problem documents.
//
// A document never shows internals. Errors that may carry some, such as those of a log,
// are shown by their kind alone, and Reporter writes the full text to the operator's log.
package problem

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
)

// A Document is an RFC 9457 problem document.
type Document struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`

	// ID is the id of an event that is in the log although the request failed.
	ID *streams.ID `json:"id,omitempty"`

	RetryAfter int `json:"-"` // seconds; 0 means that waiting does not help
	challenge  string
}

// Of returns what a client is told about err.
func Of(err error) *Document {
	k := KindOf(err)
	detail := err.Error()
	if k.hidden {
		detail = k.err.Error()
	}
	d := &Document{
		Type:       "urn:tidemark:problem:" + k.Code,
		Title:      k.Title,
		Status:     k.Status,
		Detail:     detail,
		Code:       k.Code,
		RetryAfter: k.retryAfter,
		challenge:  k.challenge,
	}
	if logged, ok := errors.AsType[*NotDurableError](err); ok {
		d.ID = &logged.ID
	}
	if over, ok := errors.AsType[*RateError](err); ok {
		d.RetryAfter = WholeSeconds(over.Wait, 1)
	}
	return d
}

// Write answers a request with the document.
func (d *Document) Write(w http.ResponseWriter) {
	body, err := json.Marshal(d)
	if err != nil {
		panic(err) // cannot happen with strings and a number
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(d.RetryAfter))
	}
	if d.challenge != "" {
		h.Set("WWW-Authenticate", d.challenge)
	}
	w.WriteHeader(d.Status)
	_, _ = w.Write(body) // fails only if the client has left
}

// A Reporter counts the problems that clients are told about, and logs failures of the
// server. It may be used concurrently.
type Reporter struct {
	logger   *slog.Logger
	problems *prometheus.CounterVec // by code
}

// NewReporter returns a Reporter that logs to logger and counts in problems, which has
// one label, the code. Every code is there from the start, at zero.
func NewReporter(logger *slog.Logger, problems *prometheus.CounterVec) *Reporter {
	for _, k := range kinds {
		problems.WithLabelValues(k.Code)
	}
	return &Reporter{logger, problems}
}

// Document returns what a client is told about err, and counts it.
func (r *Reporter) Document(err error) *Document {
	d := Of(err)
	r.problems.WithLabelValues(d.Code).Inc()
	return d
}

// LogFailure writes the full text of err to the log if the server, not the client, is at
// fault. It logs nothing for a node that drains, as intended, and for a full node, where
// every client of a storm would cost a line.
func (r *Reporter) LogFailure(err error) {
	if err == nil || errors.Is(err, ErrDraining) || errors.Is(err, limits.ErrNodeFull) {
		return
	}
	if k := KindOf(err); k.Status >= http.StatusInternalServerError {
		r.logger.Error("a request failed", "code", k.Code, "error", err)
	}
}

// LogPanic logs a recovered panic with its stack. It must be called in the deferred
// function that recovered.
func (r *Reporter) LogPanic(value any) {
	r.logger.Error("panic", "value", value, "stack", string(debug.Stack()))
}
