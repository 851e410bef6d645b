package clients

import (
	"context"
	"net/http"
	"testing"

	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
	"gopkg.in/cenkalti/backoff.v1"
)

func followR3labs(ctx context.Context, t *testing.T, url string, hear func(heard)) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c := r3labs.NewClient(url)
	c.Connection = &http.Client{Transport: transport}
	// The client's default, but it ends with the test: otherwise it would retry for 15
	// minutes.
	c.ReconnectStrategy = backoff.WithContext(backoff.NewExponentialBackOff(), ctx)
	return c.SubscribeRawWithContext(ctx, func(e *r3labs.Event) {
		if len(e.Data) == 0 {
			return // the client also passes on the retry block and blocks with only an id
		}
		hear(heard{ID: string(e.ID), Type: typeOr(string(e.Event)), Data: string(e.Data)})
	})
}

func followTmaxmax(ctx context.Context, t *testing.T, url string, hear func(heard)) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	c := (&tmaxmax.Client{HTTPClient: &http.Client{Transport: transport}}).NewConnection(r)
	c.SubscribeToAll(func(e tmaxmax.Event) {
		if e.Data == "" {
			return // the client also passes on blocks with only an id
		}
		hear(heard{ID: e.LastEventID, Type: typeOr(e.Type), Data: e.Data})
	})
	return c.Connect()
}

// typeOr returns the default type for an event without one.
func typeOr(kind string) string {
	if kind == "" {
		return "message"
	}
	return kind
}
