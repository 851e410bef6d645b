package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// maxDays bounds an age: a century, which time.Duration holds with room to spare.
const maxDays = 36500

// age is a duration that may be given in days: 90s, 24h, 7d, 1d12h.
type age time.Duration

func (a *age) UnmarshalText(text []byte) error {
	d, err := parseAge(string(text))
	if err != nil {
		return err
	}
	*a = age(d)
	return nil
}

func (a age) String() string { return time.Duration(a).String() }

func parseAge(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not an age: want one like 90s, 24h or 7d", s)
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

// rule is a retention rule: PATTERN=EVENTS,AGE, or PATTERN=EVENTS with the
// default age. A pattern may hold "=" and ",", as room names do.
type rule service.RetentionRule

func (r *rule) UnmarshalText(text []byte) error {
	s := string(text)
	i := strings.LastIndexByte(s, '=')
	if i < 1 {
		return fmt.Errorf("%q: want PATTERN=EVENTS,AGE", s)
	}
	keep := service.DefaultRetention()
	events, life, aged := strings.Cut(s[i+1:], ",")
	n, err := strconv.Atoi(events)
	if err != nil || n < 0 {
		return fmt.Errorf("%q: %q is not a number of events", s, events)
	}
	keep.Events = n
	if aged {
		if keep.Age, err = parseAge(life); err != nil {
			return fmt.Errorf("%q: %w", s, err)
		}
	}
	*r = rule{Pattern: s[:i], Retention: keep}
	return nil
}

func (r rule) String() string {
	return fmt.Sprintf("%s=%d,%v", r.Pattern, r.Retention.Events, age(r.Retention.Age))
}

// room is the name of a room.
type room streams.Room

func (r *room) UnmarshalText(text []byte) error {
	name, err := streams.ParseRoom(string(text))
	*r = room(name)
	return err
}

// since says where a follow starts, in the server's words.
type since string

// UnmarshalText takes all that the server does, and a duration without the
// minus: "--since 15m" reads better, and "-15m" looks like a flag.
func (s *since) UnmarshalText(text []byte) error {
	word := string(text)
	if back, err := parseAge(word); err == nil {
		word = "-" + back.String()
	}
	if replay.ParseSince(word, time.Now()).String() == replay.Unknown().String() {
		return errors.New(`want "now", "earliest", an id, a time like 2026-01-02T15:04:05Z, or a duration back like 15m`)
	}
	*s = since(word)
	return nil
}
