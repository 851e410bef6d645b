package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tidemark/tidemark/internal/backoff"
)

const (
	// jwksEvery is the time between two periodic reads of the key set. A withdrawn key
	// stays valid for at most that long.
	jwksEvery = 5 * time.Minute
	// jwksRetry is the first delay after a failed read. Delays double up to jwksEvery.
	jwksRetry = time.Second
	// jwksPause is the minimum age of a read before a token with an unknown key id
	// causes another one. Without it any client could make the node read constantly.
	jwksPause = 10 * time.Second
	// jwksLimit bounds one read, and so the time that a token with an unknown key id
	// waits.
	jwksLimit = 5 * time.Second
	// maxJWKS bounds the document, in bytes. A key with its certificates takes about
	// 5 KiB.
	maxJWKS = 256 << 10
)

// A jwks is a keySource that reads a key set from a URL periodically, and again when a
// token names an unknown key. While the URL does not answer, the keys read last stay.
//
// The refresh of the jwkset library, which parses the keys, is not used for three reasons.
// It rejects a whole set for one malformed key or certificate, where RFC 7517, section 5,
// says to ignore that key. It waits for the next period after a failure. And tokens that
// arrive during a read would be rejected instead of waiting for its result.
type jwks struct {
	// Fixed by newJWKS.
	url     string
	client  *http.Client
	logger  *slog.Logger
	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	running sync.WaitGroup     // the follow goroutine
	reads   singleflight.Group // all callers that need a read share the current one
	results chan error         // of every finished read, for follow

	mu    sync.Mutex // guards the fields below
	pause time.Duration
	known []verificationKey // nil until the first successful read
	began time.Time         // start of the newest read
	err   error             // result of the newest finished read
}

// newJWKS returns a source that reads keys from address after start.
func newJWKS(address string, logger *slog.Logger) (*jwks, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%w: want an https:// URL of a key set", errVerifying)
	}
	j := &jwks{
		url: address, logger: logger, pause: jwksPause, results: make(chan error),
		client: &http.Client{
			Transport: http.DefaultTransport.(*http.Transport).Clone(),
			Timeout:   jwksLimit,
			// Keys come only from the URL that the operator configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j, nil
}

// start begins the first read and the periodic ones. Tokens that arrive before the first
// read has ended wait for it.
func (j *jwks) start() {
	j.refresh(0)
	j.running.Go(j.follow)
}

// close stops all reads and returns after they have ended.
func (j *jwks) close() {
	j.cancel()
	j.running.Wait()
	<-j.refresh(math.MaxInt64) // joins a read that a token started
	j.client.CloseIdleConnections()
}

// follow reads the key set periodically until close. After a failed read it reads again
// sooner, also if a token caused that read.
func (j *jwks) follow() {
	retry := backoff.Backoff{First: jwksRetry, Max: jwksEvery}
	next := time.NewTimer(jwksEvery)
	defer next.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return
		case err := <-j.results:
			next.Reset(j.delay(&retry, err))
		case <-next.C:
			// The result of the read sets the timer again. If refresh joins a call that
			// reads nothing, the timer ends first and causes the read.
			next.Reset(jwksPause)
			j.refresh(0)
		}
	}
}

// delay returns the time until the next read, after one with the result err.
func (j *jwks) delay(retry *backoff.Backoff, err error) time.Duration {
	if err == nil {
		retry.Reset()
		return jwksEvery
	}
	again := retry.Next()
	if j.ctx.Err() == nil {
		j.logger.Warn("cannot read the key set of tokens; the keys read last stay valid", "error", err, "again", again)
	}
	return again
}

// refresh reads the key set, or joins a read under way. It reads nothing if the newest
// read is younger than minAge; then the result is that read's.
func (j *jwks) refresh(minAge time.Duration) <-chan singleflight.Result {
	return j.reads.DoChan("", func() (any, error) {
		j.mu.Lock()
		young, err := time.Since(j.began) < minAge, j.err
		if !young {
			j.began = time.Now()
		}
		j.mu.Unlock()
		if young {
			return nil, err
		}
		keys, err := j.fetch()
		j.mu.Lock()
		if j.err = err; err == nil {
			j.known = keys
		}
		j.mu.Unlock()
		select {
		case j.results <- err:
		case <-j.ctx.Done():
		}
		return nil, err
	})
}

func (j *jwks) fetch() ([]verificationKey, error) {
	r, err := http.NewRequestWithContext(j.ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return nil, errors.New("the URL is not valid")
	}
	r.Header.Set("Accept", "application/json")
	res, err := j.client.Do(r)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err // a url.Error quotes the URL, which may contain a password
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s, want 200", res.Status)
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, res.Body, maxJWKS))
	if err != nil {
		return nil, fmt.Errorf("read the key set, which may have %d bytes: %w", maxJWKS, err)
	}
	return parseJWKS(text)
}

// keys implements keySource. If the set lacks a key with this id, keys waits for a read,
// provided that the newest one is older than the pause or still under way.
func (j *jwks) keys(ctx context.Context, id string) ([]verificationKey, error) {
	known, pause := j.lookUp()
	if !slices.ContainsFunc(known, func(k verificationKey) bool { return k.named(id) }) {
		select {
		case <-j.refresh(pause):
		case <-ctx.Done():
		case <-j.ctx.Done():
		}
		known, _ = j.lookUp()
	}
	if known == nil {
		return nil, ErrUnavailable
	}
	return known, nil
}

func (j *jwks) lookUp() (known []verificationKey, pause time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.known, j.pause
}
