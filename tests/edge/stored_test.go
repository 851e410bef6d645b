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

// touched are the rooms that a request which is not understood rightly might be
// about.
func touched() []string {
	return []string{"lobby", "@ann", "$all", "a", "b", "r", "sys", "etc", "@lobby", "nowhere"}
}

// stored is what a server's log holds, as far as one can see.
type stored struct {
	newest    string            // id of the newest event of all
	history   map[string]string // of the touched rooms
	published map[string]float64
	keys      map[string]string // in Redis: their values as it dumps them
}

// stored looks at the log, and at redis, whether or not the log is in there.
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

// newest returns where a follow starts now: after the newest event of all.
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

// unchanged fails the test if anything was stored.
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

// problems returns how many problems the server told of, by code: those that there were.
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
