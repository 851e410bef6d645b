package client

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/tidemark/tidemark/internal/backoff"
)

const (
	// firstRetry and maxRetry bound the delay before a request is repeated, if the server
	// does not name a longer one.
	firstRetry = 250 * time.Millisecond
	maxRetry   = 5 * time.Second
)

// retryable reports whether retry tries again after err. An untrusted certificate is reported
// at once, because the user waits for the result. (tail does try again: the certificate may
// be replaced while it runs.)
func retryable(err error) bool {
	return temporary(err) && !errors.As(err, new(*tls.CertificateVerificationError))
}

// retry calls try until it succeeds, fails permanently, or ctx ends, and returns its last
// error. Between two calls it waits for a growing delay, or as long as the server asks.
func retry(ctx context.Context, try func() error) error {
	delays := backoff.Backoff{First: firstRetry, Max: maxRetry}
	for {
		err := try()
		if !retryable(err) {
			return err
		}
		delay := delays.Next()
		if answer := (*statusError)(nil); errors.As(err, &answer) {
			delay = max(delay, answer.retryAfter)
		}
		if !sleep(ctx, delay) {
			return err
		}
	}
}

// sleep waits for d. It returns false at once if ctx ends first.
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
