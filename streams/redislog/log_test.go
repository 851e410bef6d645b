package redislog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// quiet is a logger for tests in which warnings are expected.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open opens a log that is closed with the test.
func open(t testing.TB, opt Options) *Log {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = quiet()
	}
	l, err := Open(context.Background(), opt)
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

func TestPromises(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprintf("partitions=%d", partitions), func(t *testing.T) {
			promises(t, Options{URL: redistest.Shared(t).URL(), Partitions: partitions})
		})
	}
}

func TestPromisesOnNewerRedis(t *testing.T) {
	t.Parallel()
	promises(t, Options{URL: redistest.StartNewer(t, "--appendonly", "yes").URL()})
}

// promises runs the suite of all logs. Each test has its own prefix.
func promises(t *testing.T, opt Options) {
	logtest.Run(t, func(t *testing.T) *logtest.Harness {
		opt.Prefix = newPrefix()
		h := &logtest.Harness{Log: open(t, opt), Second: open(t, opt)}
		h.Reopen = func() streams.Log {
			_ = h.Log.Close()
			h.Log = open(t, opt)
			return h.Log
		}
		return h
	})
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	url := redistest.Shared(t).URL()
	before := goleak.IgnoreCurrent()
	l, err := Open(context.Background(), Options{URL: url, Prefix: newPrefix()})
	if err != nil {
		t.Fatal(err)
	}
	feed := l.Feed(0)
	feed.Join("a", 1)
	if s := <-feed.Messages(); s.Joined != "a" {
		t.Errorf("message %+v, want a joined", s)
	}
	if r := l.Append(t.Context(), []streams.Draft{draft("a", "1")}); r[0].Err != nil {
		t.Error(r[0].Err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}

func TestOpenRejectsSettings(t *testing.T) {
	for want, opt := range map[string]Options{
		"scheme":     {URL: "http://localhost"},
		"partitions": {URL: "redis://localhost", Partitions: -1},
		"braces":     {URL: "redis://localhost", Prefix: "a{b"},
		"least":      {URL: "redis://localhost", KeyLife: 1},
	} {
		if _, err := Open(t.Context(), opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%+v) = %v, want an error about %s", opt, err, want)
		}
	}
}
