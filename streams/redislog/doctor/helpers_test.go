package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
	"github.com/tidemark/tidemark/tests/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

func examine(t *testing.T, opt redislog.Options) Report {
	t.Helper()
	opt.Logger = slog.New(slog.DiscardHandler)
	report, err := Examine(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// has reports whether the report has such a finding, with read in its Read.
func (r Report) has(l Level, about, read string) bool {
	for _, f := range r.Findings {
		if f.Level == l && f.About == about && strings.Contains(f.Read, read) {
			return true
		}
	}
	return false
}

// String formats the report for the messages of tests.
func (r Report) String() string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n%s %s %s: %s", f.Level, f.Server, f.About, f.Read)
	}
	return b.String()
}

func wants(t *testing.T, opt redislog.Options, l Level, about, read string) {
	t.Helper()
	if report := examine(t, opt); !report.has(l, about, read) {
		t.Errorf("want %s %s with %q, have%s", l, about, read, report)
	}
}

// configure changes settings, written as "name value, name value". It returns a function
// that restores them.
func configure(t *testing.T, admin *redis.Client, settings string) (restore func()) {
	t.Helper()
	var back []func()
	for pair := range strings.SplitSeq(settings, ", ") {
		name, value, _ := strings.Cut(pair, " ")
		before, err := admin.ConfigGet(t.Context(), name).Result()
		if err == nil {
			err = admin.ConfigSet(t.Context(), name, value).Err()
		}
		if err != nil {
			t.Fatalf("%s: %v", pair, err)
		}
		back = append(back, func() {
			if err := admin.ConfigSet(t.Context(), name, before[name]).Err(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	return func() {
		for _, put := range slices.Backward(back) {
			put()
		}
	}
}

// open opens a log that is closed with the test.
func open(t *testing.T, opt redislog.Options) *redislog.Log {
	t.Helper()
	opt.Logger = slog.New(slog.DiscardHandler)
	l, err := redislog.Open(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// prefixes distinguishes the tests that share a Redis.
var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("test-%d", prefixes.Add(1)) }

func draft(room streams.Room, data string) streams.Draft {
	return streams.Draft{
		Room: room, Type: streams.DefaultType, Data: []byte(data),
		Retention: streams.Retention{Events: 1000, Age: time.Hour},
	}
}

// put appends one draft that must succeed.
func put(t *testing.T, l *redislog.Log, d streams.Draft) {
	t.Helper()
	if r := l.Append(context.Background(), []streams.Draft{d})[0]; r.Err != nil {
		t.Fatalf("append to %q: %v", d.Room, r.Err)
	}
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// oneNodeCluster starts the smallest Cluster.
func oneNodeCluster(t *testing.T) (node *redistest.Server, url string) {
	t.Helper()
	node = redistest.StartProcess(t, "--cluster-enabled", "yes")
	admin := node.Client()
	if err := admin.ClusterAddSlotsRange(t.Context(), 0, allSlots-1).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is up", func() bool {
		return strings.Contains(admin.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
	return node, strings.Replace(node.URL(), "redis://", "redis+cluster://", 1)
}

// redisDocs returns docs/redis.md.
func redisDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// aclRule returns the words after ACL SETUSER in docs/redis.md, for the prefixes of the
// tests.
func aclRule(t *testing.T) []string {
	t.Helper()
	for line := range strings.Lines(redisDocs(t)) {
		if rule, found := strings.CutPrefix(strings.TrimSpace(line), "ACL SETUSER "); found {
			return strings.Fields(strings.ReplaceAll(rule, "{tidemark:", "{test-"))
		}
	}
	t.Fatal("docs/redis.md has no line with ACL SETUSER")
	return nil
}

func setUser(t *testing.T, admin *redis.Client, rule []string) {
	t.Helper()
	words := []any{"acl", "setuser"}
	for _, word := range rule {
		words = append(words, word)
	}
	if err := admin.Do(t.Context(), words...).Err(); err != nil {
		t.Fatal(err)
	}
}
