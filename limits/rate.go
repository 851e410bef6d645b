package limits

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxTokens bounds a rate's events and its burst. Redis stores times as doubles in
// seconds, with steps of about 60 ns. At a million events a second, tokens are 1 µs
// apart, which those steps still resolve.
const maxTokens = 1_000_000

// maxName is the maximum length of a caller's name that is stored as it is, in bytes. A
// token may name a user with thousands of bytes; such a name is replaced by its hash.
const maxName = 128

// errRate reports a text that is not a rate.
var errRate = errors.New("not a rate")

// A Rate limits how many events a caller may publish: Events per Per on average, and at
// most Burst at once. The zero Rate means no limit.
type Rate struct {
	Events int
	Per    time.Duration // a second, a minute or an hour
	Burst  int           // at least 1
}

// ParseRate parses a rate such as "100/s", "6000/m" or "50000/h". A burst may follow, as
// in "100/s,200"; without it, the burst equals the number of events. Both numbers are 1
// to 1,000,000.
func ParseRate(text string) (Rate, error) {
	average, burst, given := strings.Cut(text, ",")
	count, unit, _ := strings.Cut(average, "/")
	var r Rate
	var err error
	if r.Events, err = parseTokens(count); err != nil {
		return Rate{}, fmt.Errorf("%w: %.40q: %w", errRate, text, err)
	}
	if r.Per = unitOf(unit); r.Per == 0 {
		return Rate{}, fmt.Errorf("%w: %.40q: want one like 100/s, 6000/m, 50000/h or 100/s,200", errRate, text)
	}
	if r.Burst = r.Events; given {
		if r.Burst, err = parseTokens(burst); err != nil {
			return Rate{}, fmt.Errorf("%w: %.40q: the burst after the comma: %w", errRate, text, err)
		}
	}
	return r, nil
}

func parseTokens(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxTokens {
		return 0, fmt.Errorf("want a number from 1 to %d", maxTokens)
	}
	return n, nil
}

func unitOf(name string) time.Duration {
	switch name {
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	}
	return 0
}

// UnmarshalText implements encoding.TextUnmarshaler. An empty text means no limit.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r = Rate{}
	if len(text) > 0 {
		*r, err = ParseRate(string(text))
	}
	return err
}

// String returns r in the form that ParseRate reads. It is empty for no limit.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	unit := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Per]
	text := fmt.Sprintf("%d/%s", r.Events, unit)
	if r.Burst != r.Events {
		text += fmt.Sprintf(",%d", r.Burst)
	}
	return text
}

// Window returns the time in which an empty bucket fills up.
func (r Rate) Window() time.Duration { return r.after(float64(r.Burst)) }

// after returns the time in which the rate adds this many tokens.
func (r Rate) after(tokens float64) time.Duration {
	return time.Duration(max(tokens, 0) * float64(r.Per) / float64(r.Events))
}

// tokens returns how many tokens the rate adds in d.
func (r Rate) tokens(d time.Duration) float64 {
	return float64(d) * float64(r.Events) / float64(r.Per)
}

// peeked returns the Decision of Peek for a bucket with this many tokens.
func (r Rate) peeked(tokens float64) Decision {
	return Decision{Remaining: int(tokens), RetryAfter: r.after(1 - tokens), ResetAfter: r.after(float64(r.Burst) - tokens)}
}

// A RateLimiter keeps a token bucket for each caller. A bucket starts full, with Burst
// tokens, and is refilled at the limiter's Rate. Implementations are safe for concurrent
// use.
type RateLimiter interface {
	// Rate returns the rate of all buckets. It does not change.
	Rate() Rate

	// Take takes n tokens from the bucket of caller, which may be any text. If fewer
	// than n tokens remain, it takes all of them, provided there are at least minimum
	// (1 to n); otherwise it takes none. Take never waits for tokens and never fails.
	// If a remote store does not answer before ctx ends or within 500 ms, a local
	// bucket decides.
	Take(ctx context.Context, caller string, n, minimum int) Decision

	// Peek returns the state of caller's bucket without taking tokens: Granted is 0, and
	// RetryAfter is the time until one token is available. Other calls may take the
	// remaining tokens before the caller does. Peek never waits for tokens and never
	// fails, like Take.
	Peek(ctx context.Context, caller string) Decision
}

// nameOf returns the caller's name, or its hash if it is longer than maxName.
func nameOf(caller string) string {
	if len(caller) <= maxName {
		return caller
	}
	hash := sha256.Sum256([]byte(caller))
	return "sha256:" + hex.EncodeToString(hash[:])
}

// A Decision is the result of Take and Peek.
type Decision struct {
	Granted    int           // tokens taken
	Remaining  int           // tokens left in the bucket
	RetryAfter time.Duration // until the tokens that were not granted are available; 0 if all were
	ResetAfter time.Duration // until the bucket is full
}
