// Package problem tells clients what went wrong: it has the errors of the HTTP edge, the
// one table from errors to codes, and the RFC 9457 problem documents.
//
// A document never shows internals. Errors that may carry some, such as those of a log,
// are shown by their kind alone, and Reporter writes the full text to the operator's log.
package problem

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

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
	if n := len(k.Title); len(detail) > n+2 && strings.EqualFold(detail[:n], k.Title) && detail[n:n+2] == ": " {
		detail = detail[n+2:] // the client sees the title too
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
	body := d.Prepare(w.Header())
	w.WriteHeader(d.Status)
	_, _ = w.Write(body) // fails only if the client has left
}

// Prepare sets the header of an answer with the document, and returns its body.
func (d *Document) Prepare(h http.Header) (body []byte) {
	body, err := json.Marshal(d)
	if err != nil {
		panic(err) // cannot happen with strings and a number
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(d.RetryAfter))
	}
	if d.challenge != "" {
		h.Set("WWW-Authenticate", d.challenge)
	}
	return body
}
