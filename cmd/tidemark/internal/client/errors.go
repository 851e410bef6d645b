package client

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// maxProblem bounds the body of an answer that reports an error, in bytes.
const maxProblem = 64 << 10

// A statusError is an answer that reports an error.
type statusError struct {
	status     int
	text       string        // from the problem document, or the name of the status
	retryAfter time.Duration // how long the server asks to wait; 0 if it does not say
}

func (e *statusError) Error() string { return e.text }

// permanentError marks an error on the client's side that a retry would repeat.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// temporary reports whether the same request may succeed later. An error that is neither an
// answer of the server nor permanent is a failure of the network, and temporary.
func temporary(err error) bool {
	var answer *statusError
	switch {
	case err == nil || errors.As(err, new(permanentError)) || errors.As(err, new(cli.UsageError)):
		return false
	case errors.As(err, &answer):
		return answer.status >= 500 && answer.status != http.StatusNotImplemented ||
			answer.status == http.StatusTooManyRequests || answer.status == http.StatusRequestTimeout
	}
	return true
}

// noAnswerError means that a server did not answer.
type noAnswerError struct {
	server string
	cause  error
}

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("no answer from %s: %v", e.server, e.cause)
}

func (e *noAnswerError) Unwrap() error { return e.cause }

// advise adds the user's next step to an error that ends a command.
func advise(err error) error {
	var answer *statusError
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return fmt.Errorf("%w: for a certificate authority of your own, set SSL_CERT_FILE", err)
	case errors.As(err, new(*noAnswerError)):
		return fmt.Errorf("%w: check that a node runs there, or name another address with --url", err)
	case errors.As(err, &answer) && answer.status == http.StatusUnauthorized:
		return fmt.Errorf("%w (set TIDEMARK_TOKEN)", err)
	case errors.As(err, &answer) && answer.status == http.StatusForbidden:
		return fmt.Errorf("%w (set TIDEMARK_TOKEN to one that does)", err)
	}
	return err
}

// noAnswer describes err without the method and URL that net/http adds.
func (c *client) noAnswer(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &noAnswerError{server: c.name, cause: err}
}

// errorOf returns the error that an answer reports, with the text of its problem document
// (RFC 9457) if it has one.
func errorOf(res *http.Response) *statusError {
	var problem struct {
		Title, Detail string
		Reasons       []string // of /readyz, which answers without a problem document
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem)) // an incomplete body only shortens the text
	if json.Unmarshal(body, &problem) != nil {
		problem.Title = ""
	}
	text := cmp.Or(problem.Title, http.StatusText(res.StatusCode), res.Status)
	if detail := cmp.Or(problem.Detail, strings.Join(problem.Reasons, ", ")); detail != "" {
		text += ": " + detail
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // 0 if it is missing or a date
	return &statusError{
		status:     res.StatusCode,
		text:       fmt.Sprintf("the server answered %d: %s", res.StatusCode, text),
		retryAfter: time.Duration(max(seconds, 0)) * time.Second,
	}
}
