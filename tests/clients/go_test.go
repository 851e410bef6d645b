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
	// Its default, except that it ends when the test does: else it tries for 15 minutes.
	c.ReconnectStrategy = backoff.WithContext(backoff.NewExponentialBackOff(), ctx)
	return c.SubscribeRawWithContext(ctx, func(e *r3labs.Event) {
		if len(e.Data) == 0 {
			return // the retry block, or one with an id only: it hands on those too
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
			return // a block with an id only: it hands on those too
		}
		hear(heard{ID: e.LastEventID, Type: typeOr(e.Type), Data: e.Data})
	})
	return c.Connect()
}

// typeOr is the type of an event that came without one.
func typeOr(kind string) string {
	if kind == "" {
		return "message"
	}
	return kind
}
