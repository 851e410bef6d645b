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

// maxTokens bounds a rate's events and its burst. Redis counts time in steps of some
// 60 ns (a double that holds seconds), and a million an hour apart in microseconds.
const maxTokens = 1_000_000

// maxName bounds what is kept of a caller's name, in bytes: a token may have a user with
// thousands.
const maxName = 128

var errRate = errors.New("not a rate")

// A Rate is how many events a caller may publish: Events in each Per, on average, and
// Burst at once, after a pause that was long enough. The zero Rate is no limit.
type Rate struct {
	Events int
	Per    time.Duration // a second, a minute or an hour
	Burst  int           // at least 1
}

// ParseRate reads a rate such as "100/s", "6000/m" or "50000/h", and with a burst that
// is not the number of events "100/s,200".
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
			return Rate{}, fmt.Errorf("%w: %.40q: its burst: %w", errRate, text, err)
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

// UnmarshalText implements encoding.TextUnmarshaler. No text at all is no limit.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r = Rate{}
	if len(text) > 0 {
		*r, err = ParseRate(string(text))
	}
	return err
}

// String returns r as ParseRate reads it.
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

// Window is how long it takes an empty bucket to be full.
func (r Rate) Window() time.Duration { return r.after(float64(r.Burst)) }

// after is how long so many tokens take to be there.
func (r Rate) after(tokens float64) time.Duration {
	return time.Duration(max(tokens, 0) * float64(r.Per) / float64(r.Events))
}

// tokens is how many there are after d.
func (r Rate) tokens(d time.Duration) float64 {
	return float64(d) * float64(r.Events) / float64(r.Per)
}

// RateLimiter hold a bucket of tokens for each caller, which starts full and is filled at
// one Rate. They may be used by any number of goroutines.
type RateLimiter interface {
	// Rate returns how the buckets are filled. It does not change.
	Rate() Rate

	// Take takes n tokens from the bucket of caller, a name of any kind. Where there
	// are fewer, it takes all that there are if that is at least least, which is 1 to n,
	// and none otherwise. It never waits for tokens, and within limits and ctx for
	// whoever keeps the buckets. That can't fail.
	Take(ctx context.Context, caller string, n, least int) Decision
}

// nameOf returns the name of a caller, or where it is long its hash.
func nameOf(caller string) string {
	if len(caller) <= maxName {
		return caller
	}
	hash := sha256.Sum256([]byte(caller))
	return "sha256:" + hex.EncodeToString(hash[:])
}

// A Decision is what a bucket had to say.
type Decision struct {
	Granted int           // tokens
	Remaining  int           // tokens that are still there
	RetryAfter  time.Duration // until those are there too that were asked for and not taken
	ResetAfter  time.Duration // until the bucket is full again
}
