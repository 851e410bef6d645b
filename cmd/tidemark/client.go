package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer bounds what is read of one answer, in bytes: a page of history
	// at the server's usual limits is a tenth of it.
	maxAnswer = 512 << 20
	// maxProblem bounds what is read of an answer that is not a success.
	maxProblem = 64 << 10
	// answerWait bounds how long a server may take to begin an answer.
	answerWait = 30 * time.Second
	dialWait   = 10 * time.Second

	// firstRetry and maxRetry bound the wait before a request is repeated, where
	// the server does not say how long to wait.
	firstRetry = 250 * time.Millisecond
	maxRetry   = 5 * time.Second
)

// remote says which server a client command talks to.
type remote struct {
	Token string   `placeholder:"TOKEN" help:"Token or API key to show to the server; meant for the environment, TIDEMARK_TOKEN."`
	URL   *url.URL `name:"url" default:"http://127.0.0.1:8080" placeholder:"URL" help:"Address of the server, or unix:/path of its socket (default ${default})."`
}

// client returns a client of the server. Streams have no end, so that it bounds
// only how long each step before an answer's body takes.
func (r remote) client() *client {
	dialer := &net.Dialer{Timeout: dialWait}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   dialWait,
		ResponseHeaderTimeout: answerWait,
	}
	base := r.URL
	if path := r.URL.Path; r.URL.Scheme == "unix" {
		base = &url.URL{Scheme: "http", Host: "localhost"}
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
	}
	return &client{base: base, name: r.URL.String(), token: r.Token, http: &http.Client{Transport: transport}}
}

// A client speaks to one server.
type client struct {
	base  *url.URL
	name  string // of the server, for people
	token string // "" for none
	http  *http.Client
}

// A statusError is an answer other than the one hoped for.
type statusError struct {
	status int
	text   string        // the problem document's, or the status in words
	after  time.Duration // how long the server asks to wait; 0 where it does not say
}

func (e *statusError) Error() string { return e.text }

// permanent marks an error, not of the server's, that trying again does not mend.
type permanent struct{ error }

func (e permanent) Unwrap() error { return e.error }

// temporary reports whether the same request may succeed later. What is neither
// the server's answer nor marked is the network's failure.
func temporary(err error) bool {
	var answer *statusError
	switch {
	case err == nil || errors.As(err, new(permanent)) || errors.As(err, new(usageError)):
		return false
	case errors.As(err, &answer):
		return answer.status >= 500 && answer.status != http.StatusNotImplemented ||
			answer.status == http.StatusTooManyRequests || answer.status == http.StatusRequestTimeout
	}
	return true
}

// at returns the URL of a path below the server's, whose elements are escaped.
func (c *client) at(query url.Values, elements ...string) string {
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	u := c.base.JoinPath(elements...)
	u.RawQuery = query.Encode()
	return u.String()
}

// do sends a request and returns an answer of status 200 or 201, whose body the
// caller closes. Errors: a *statusError, or that no answer came.
func (c *client) do(r *http.Request) (*http.Response, error) {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, c.noAnswer(err)
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusCreated {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refusal(res)
}

// noAnswer leaves out of err what net/http repeats of the request.
func (c *client) noAnswer(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("no answer from %s: %w", c.name, err)
}

// refusal reads the problem document (RFC 9457) of an answer.
func refusal(res *http.Response) *statusError {
	var problem struct {
		Title, Detail string
		Reasons       []string // of a readiness check, which has no problem document
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem)) // what can't be read is left out
	if json.Unmarshal(body, &problem) != nil {
		problem.Title = ""
	}
	text := cmp.Or(problem.Title, http.StatusText(res.StatusCode), res.Status)
	if detail := cmp.Or(problem.Detail, strings.Join(problem.Reasons, ", ")); detail != "" {
		text += ": " + detail
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // 0 for none, and for a date
	return &statusError{
		status: res.StatusCode,
		text:   fmt.Sprintf("the server answered %d: %s", res.StatusCode, text),
		after:  time.Duration(max(seconds, 0)) * time.Second,
	}
}

// get reads the JSON answer of a GET into answer.
func (c *client) get(ctx context.Context, address string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	return c.exchange(r, answer)
}

// post sends message as JSON and reads the answer. With a key, repeating it is safe.
func (c *client) post(ctx context.Context, address, key string, message, answer any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return c.exchange(r, answer)
}

func (c *client) exchange(r *http.Request, answer any) error {
	res, err := c.do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("answer of %s: %w", c.name, err)
	}
	return nil
}

// repeatable reports whether persist tries again after err. A certificate that is not
// trusted may be replaced while one follows; who waits for an answer should know of it now.
func repeatable(err error) bool {
	return temporary(err) && !errors.As(err, new(*tls.CertificateVerificationError))
}

// persist calls try until it succeeds, fails for good, or ctx ends, and returns
// its last error. Between two calls it waits for as long as the server asks, else
// longer each time.
func persist(ctx context.Context, try func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, maxRetry) {
		err := try()
		if !repeatable(err) {
			return err
		}
		pause := wait
		if answer := (*statusError)(nil); errors.As(err, &answer) {
			pause = max(pause, answer.after)
		}
		if !sleep(ctx, pause) {
			return err
		}
	}
}

// sleep waits for d and reports whether ctx did not end before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// plural returns "1 event", "2 events".
func plural(n int, noun string) string {
	text := strconv.Itoa(n) + " " + noun
	if n != 1 {
		text += "s"
	}
	return text
}

// oneLine keeps a message on its line, whatever a server put into it.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
