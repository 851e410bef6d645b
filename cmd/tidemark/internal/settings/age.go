package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxDays bounds an age at one century, which fits into a time.Duration.
const maxDays = 36500

// An Age is a duration that may be given in days: 90s, 24h, 7d, 1d12h.
type Age time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Age) UnmarshalText(text []byte) error {
	d, err := ParseAge(string(text))
	if err != nil {
		return err
	}
	*a = Age(d)
	return nil
}

func (a Age) String() string { return time.Duration(a).String() }

// ParseAge parses a duration of at least 1 ms, with an optional leading number of days.
func ParseAge(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not an age: use a form like 90s, 24h or 7d", s)
	var d time.Duration
	rest := s
	if days, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > maxDays {
			return 0, bad
		}
		d, rest = time.Duration(n)*24*time.Hour, tail
	}
	if rest != "" {
		part, err := time.ParseDuration(rest)
		if err != nil || part < 0 || part > maxDays*24*time.Hour {
			return 0, bad
		}
		d += part
	}
	if d < time.Millisecond {
		return 0, bad
	}
	return d, nil
}
