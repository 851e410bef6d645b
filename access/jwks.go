package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	// jwksEvery is how often the keys are read. A key that was withdrawn is believed
	// for as long.
	jwksEvery = 5 * time.Minute
	// jwksRetry is how long to wait after a first failure; it doubles up to jwksEvery.
	jwksRetry = time.Second
	// jwksPause is the least time between two readings that unknown keys ask for:
	// anybody can name one.
	jwksPause = 10 * time.Second
	// jwksLimit bounds one reading, and with it how long a token of an unknown key
	// waits.
	jwksLimit = 5 * time.Second
	// maxJWKS bounds the document, in bytes; keys with their certificates have 5 KiB.
	maxJWKS = 256 << 10
)

// jwks is a source that reads keys from a URL, again and again. While the URL does not
// answer, the keys last read count.
type jwks struct {
	// Fixed by newJWKS.
	url    string
	client *http.Client
	logger *slog.Logger
	retry  time.Duration
	pause  time.Duration
	ctx    context.Context
	cancel context.CancelFunc
	asked  chan struct{} // somebody named a key that is not known
	run    sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	known []signer   // nil until they were read once
	busy  bool       // a reading is under way, or has been asked for
	began time.Time  // the newest reading
	round chan struct{}
}

// newJWKS returns a source that reads keys from address once it is started.
func newJWKS(address string, logger *slog.Logger) (*jwks, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%w: want an https:// URL of a key set", errVerifying)
	}
	j := &jwks{
		url: address, logger: logger, retry: jwksRetry, pause: jwksPause,
		asked: make(chan struct{}, 1), busy: true, round: make(chan struct{}),
		client: &http.Client{
			Transport: http.DefaultTransport.(*http.Transport).Clone(),
			Timeout:   jwksLimit,
			// The keys are where the operator says, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j, nil
}

// start begins to read keys. Close j when done.
func (j *jwks) start() { j.run.Go(j.follow) }

// close ends the reading and waits for it.
func (j *jwks) close() {
	j.cancel()
	j.run.Wait()
	j.client.CloseIdleConnections()
}

// follow reads the keys until close.
func (j *jwks) follow() {
	retry := j.retry
	for j.ctx.Err() == nil {
		pause := jwksEvery
		if err := j.refresh(); err == nil {
			retry = j.retry
		} else {
			j.logger.Warn("the keys of tokens can't be read", "error", err, "again", retry)
			pause, retry = retry, min(2*retry, jwksEvery)
		}
		select {
		case <-j.ctx.Done():
		case <-j.asked:
		case <-time.After(pause):
		}
	}
}

// refresh reads the keys once, and lets those know who wait for it.
func (j *jwks) refresh() error {
	j.mu.Lock()
	j.busy, j.began = true, time.Now()
	j.mu.Unlock()
	keys, err := j.fetch()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		j.known = keys
	}
	j.busy = false
	close(j.round)
	j.round = make(chan struct{})
	return err
}

func (j *jwks) fetch() ([]signer, error) {
	r, err := http.NewRequestWithContext(j.ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return nil, errors.New("the request can't be made")
	}
	r.Header.Set("Accept", "application/json")
	res, err := j.client.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the URL may hold a password
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxJWKS+1))
	if err != nil {
		return nil, err
	}
	return parseJWKS(text)
}

// parseJWKS reads a key set (RFC 7517), and leaves out what is not for verifying
// tokens here: keys of other kinds, for encryption, or secret.
func parseJWKS(text []byte) ([]signer, error) {
	if len(text) > maxJWKS {
		return nil, fmt.Errorf("%w: the key set is larger than %d bytes", errVerifying, maxJWKS)
	}
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("%w: not a key set", errVerifying)
	}
	var all []signer
	for _, k := range set.Keys {
		s, err := jwkSigner(k)
		if err != nil {
			continue
		}
		if all = append(all, s); len(all) > maxKeys {
			return nil, fmt.Errorf("%w: there are more than %d", errVerifying, maxKeys)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: the key set has none that is RSA, P-256 or Ed25519", errVerifying)
	}
	return all, nil
}

func jwkSigner(k jwkset.JWKMarshal) (signer, error) {
	if k.USE != "" && k.USE != jwkset.UseSig || k.KTY == jwkset.KtyOct {
		return signer{}, errVerifying
	}
	// Certificates are not looked at: the set is trusted for where it comes from.
	k.X5U, k.X5C, k.X5T, k.X5TS256 = "", nil, "", ""
	parsed, err := jwkset.NewJWKFromMarshal(k, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return signer{}, err
	}
	s, err := publicSigner(k.KID, parsed.Key())
	if err == nil && k.ALG != "" && !slices.Contains(s.methods, k.ALG.String()) {
		return signer{}, errVerifying
	}
	return s, err
}

// signers implements source. For a key that it does not know it reads the set again,
// if that was not just done.
func (j *jwks) signers(ctx context.Context, id string) ([]signer, error) {
	known, round := j.look(id)
	if round != nil {
		select {
		case <-round:
		case <-ctx.Done():
		case <-j.ctx.Done():
		}
		j.mu.Lock()
		known = j.known
		j.mu.Unlock()
	}
	if known == nil {
		return nil, ErrUnavailable
	}
	return known, nil
}

// look returns the keys known, and if id is not among them what is closed when they
// have been read anew; nil if they are not going to be for that.
func (j *jwks) look(id string) (known []signer, round <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	named := func(s signer) bool { return id == "" || s.id == "" || s.id == id }
	if slices.ContainsFunc(j.known, named) {
		return j.known, nil
	}
	if !j.busy {
		if time.Since(j.began) < j.pause {
			return j.known, nil
		}
		j.busy = true
		select {
		case j.asked <- struct{}{}:
		default: // it has been
		}
	}
	return j.known, j.round
}
