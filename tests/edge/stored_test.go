//go:build linux

package edge

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strings"

	"github.com/tidemark/tidemark/tests/redistest"
)

// touched are the rooms that a misread request might affect.
func touched() []string {
	return []string{"lobby", "@ann", "$all", "a", "b", "r", "sys", "etc", "@lobby", "nowhere"}
}

// stored is the visible content of a server's log.
type stored struct {
	newest    string            // of the newest event in any room
	history   map[string]string // of the touched rooms
	published map[string]float64
	keys      map[string]string // in Redis: by key, as DUMP returns them
}

// stored reads the log through the server, and the keys of redis unless it is nil.
func (s *server) stored(redis *redistest.Server) stored {
	s.t.Helper()
	now := stored{newest: s.newest(), history: make(map[string]string), published: make(map[string]float64), keys: dump(s, redis)}
	for _, room := range touched() {
		status, page := s.get("/v1/rooms/" + url.PathEscape(room) + "/events")
		now.history[room] = fmt.Sprint(status, page)
	}
	for name, value := range s.metrics() {
		if strings.HasPrefix(name, "tidemark_published_total") {
			now.published[name] = value
		}
	}
	return now
}

// newest returns the position at which a stream starts now: after the newest event of all
// rooms.
func (s *server) newest() string {
	s.t.Helper()
	l, err := (&caller{to: s.Addr}).dial()
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.reset()
	_, first, err := l.openStream("/v1/rooms/unheard-of/events")
	if err != nil {
		s.t.Fatal(err)
	}
	return first.ID
}

// dump returns the values of all keys.
func dump(s *server, redis *redistest.Server) map[string]string {
	s.t.Helper()
	ctx, client := context.Background(), redis.Client()
	names, err := client.Keys(ctx, "*").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	values := make(map[string]string, len(names))
	for _, name := range names {
		if values[name], err = client.Dump(ctx, name).Result(); err != nil {
			s.t.Fatal(err)
		}
	}
	return values
}

// unchanged fails the test if the log has changed.
func (s *server) unchanged(before, after stored) {
	s.t.Helper()
	if before.newest != after.newest {
		s.t.Errorf("the log went on from %s to %s", before.newest, after.newest)
	}
	for what, pair := range map[string][2]map[string]string{
		"history": {before.history, after.history},
		"Redis":   {before.keys, after.keys},
	} {
		if !maps.Equal(pair[0], pair[1]) {
			s.t.Errorf("%s: was %q, is %q", what, pair[0], pair[1])
		}
	}
	if !maps.Equal(before.published, after.published) {
		s.t.Errorf("published: %v, now %v", before.published, after.published)
	}
}

// problems returns how many problems the server has reported, by code.
func (s *server) problems() map[string]float64 {
	s.t.Helper()
	told := make(map[string]float64)
	for name, value := range s.metrics() {
		if code, ok := strings.CutPrefix(name, "tidemark_problems_total{code="); ok && value > 0 {
			told[strings.Trim(code, `"}`)] = value
		}
	}
	return told
}
