// Package client holds the commands that talk to a node over HTTP: publish, tail, history
// and health.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxAnswer bounds a JSON answer, in bytes. A page of history with the server's
	// default limits takes a tenth of it.
	maxAnswer = 512 << 20
	// answerWait bounds how long a server may take to start an answer.
	answerWait = 30 * time.Second
	// dialWait bounds a connection attempt, and again its TLS handshake.
	dialWait = 10 * time.Second
)

// remote holds the flags that select a server.
type remote struct {
	Token string   `placeholder:"TOKEN" help:"Token or API key to send to the server. Set it in the environment (TIDEMARK_TOKEN): other users of the machine can read command lines."`
	URL   *url.URL `name:"url" default:"http://127.0.0.1:8080" placeholder:"URL" help:"Address of the server, or unix:/path of its Unix socket (default ${default})."`
}

// client returns a client of the server. It bounds each step before the body of an answer,
// but not the body, because event streams do not end.
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

// Validate refuses a URL that is not the address of a server.
func (r remote) Validate() error {
	switch {
	case (r.URL.Scheme == "http" || r.URL.Scheme == "https") && r.URL.Host != "":
		return nil
	case r.URL.Scheme == "unix" && r.URL.Path != "":
		return nil
	}
	return fmt.Errorf("--url %s: want http://HOST:PORT, https://HOST:PORT or unix:/path", r.URL.Redacted())
}

// A client sends requests to one server.
type client struct {
	base  *url.URL
	name  string // the server in messages
	token string // may be ""
	http  *http.Client
}

// url returns the URL of a path on the server. The elements of the path are escaped.
func (c *client) url(query url.Values, elements ...string) string {
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	u := c.base.JoinPath(elements...)
	u.RawQuery = query.Encode()
	return u.String()
}

// do sends a request and returns an answer with status 200 or 201. The caller closes its
// body. For any other answer the error is a *statusError.
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
	return nil, errorOf(res)
}

// get sends a GET request and decodes the JSON answer into answer.
func (c *client) get(ctx context.Context, address string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	return c.exchange(r, answer)
}

// post sends message as JSON and decodes the JSON answer into answer. With an idempotency
// key the caller may repeat the request.
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
		return fmt.Errorf("could not read the answer of %s: %w", c.name, err)
	}
	return nil
}
