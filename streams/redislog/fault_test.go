package redislog

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

// Redis forgets its scripts at a restart. Publishers and readers do not notice.
func TestScriptFlushIsInvisible(t *testing.T) {
	server := redistest.Start(t)
	l := open(t, Options{URL: server.URL()})
	put(t, l, draft("r", "1"))
	for range 3 {
		if err := server.Client().ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		var publishing sync.WaitGroup
		for range 20 {
			publishing.Go(func() {
				if r := l.Append(t.Context(), []streams.Draft{draft("r", "2")})[0]; r.Err != nil {
					t.Error(r.Err)
				}
			})
		}
		publishing.Wait()
		watermarks(t, l)
	}
	if n := len(all(t, l, "r")); n != 61 {
		t.Errorf("%d events, want 61", n)
	}
}

// If the reply is lost after the script ran, the repeat returns the first id.
func TestReplyLost(t *testing.T) {
	server := redistest.Shared(t)
	p := newProxy(t, server.Addr())
	opt := Options{URL: p.url(), Prefix: newPrefix(), Timeout: 500 * time.Millisecond}
	l := open(t, opt)
	put(t, l, draft("r", "0"))

	p.swallowReplies.Store(true)
	refusedBy(t, l, keyed("r", "1", "k"), streams.ErrUnavailable)
	p.swallowReplies.Store(false)
	p.cut()

	opt.URL = server.URL()
	events := all(t, open(t, opt), "r")
	if len(events) != 2 {
		t.Fatalf("%d events, want also the one whose reply was lost", len(events))
	}
	var r streams.Receipt
	eventually(t, "the log answers again", func() bool {
		r = l.Append(t.Context(), []streams.Draft{keyed("r", "1", "k")})[0]
		return r.Err == nil
	})
	if !r.Replayed || r.ID != events[1].ID {
		t.Errorf("the repeat: %+v, want a replay of %s", r, events[1].ID)
	}
	if n := len(all(t, l, "r")); n != 2 {
		t.Errorf("%d events after the repeat, want 2", n)
	}
}

// If Redis does not answer, calls fail within their time limit and the feed reports Lost.
// Both recover.
func TestBlackHole(t *testing.T) {
	p := newProxy(t, redistest.Shared(t).Addr())
	const limit = time.Second
	l := open(t, Options{URL: p.url(), Prefix: newPrefix(), Timeout: limit})
	put(t, l, draft("r", "0"))
	feed := follow(t, l, "r")

	p.blackHole(true)
	start := time.Now()
	var publishing sync.WaitGroup
	for range 10 {
		publishing.Go(func() { refusedBy(t, l, draft("r", "1"), streams.ErrUnavailable) })
	}
	publishing.Wait()
	if _, err := l.Watermarks(t.Context(), 0, nil); !errors.Is(err, streams.ErrUnavailable) {
		t.Errorf("Watermarks = %v, want ErrUnavailable", err)
	}
	if took := time.Since(start); took > 2*limit+limit/2 {
		t.Errorf("two calls took %v, their limit is %v each", took, limit)
	}
	lost(t, feed)
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("the feed noticed after %v, want about 5 s", took)
	}

	p.blackHole(false)
	p.cut()
	joined(t, feed, "r", 1)
	eventually(t, "publishing works again", func() bool {
		return l.Append(t.Context(), []streams.Draft{draft("r", "2")})[0].Err == nil
	})
}

// A node may start before its Redis. It connects once Redis runs.
func TestRedisDownAtOpen(t *testing.T) {
	server := redistest.StartProcess(t)
	server.Stop()
	l := open(t, Options{URL: server.URL()})
	feed := l.Feed(0)
	feed.Join("r", 1)
	refusedBy(t, l, draft("r", "1"), streams.ErrUnavailable)
	if err := l.Ping(t.Context()); !errors.Is(err, streams.ErrUnavailable) {
		t.Errorf("Ping = %v, want ErrUnavailable", err)
	}
	server.Restart()
	joined(t, feed, "r", 1)
	if err := l.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	nextIs(t, feed, put(t, l, draft("r", "2")))
}

// A mismatch is reported later if Redis was down at Open.
func TestMismatchAfterOpen(t *testing.T) {
	server := redistest.StartProcess(t, "--appendonly", "yes")
	open(t, Options{URL: server.URL(), Partitions: 2})
	server.Stop()
	l := open(t, Options{URL: server.URL()})
	server.Restart()
	if err := l.Ping(t.Context()); !errors.Is(err, streams.ErrMismatch) {
		t.Errorf("Ping = %v, want ErrMismatch", err)
	}
}

// The first publish after a restart of Redis does not fail on a dead connection, and the
// feed announces its rooms again.
func TestRestart(t *testing.T) {
	server := redistest.StartProcess(t, "--appendonly", "yes", "--appendfsync", "always")
	l := open(t, Options{URL: server.URL()})
	first := put(t, l, draft("r", "1"))
	feed := follow(t, l, "r")
	floor := watermarks(t, l).Floor
	server.Kill()
	lost(t, feed)
	server.Restart()

	second := put(t, l, draft("r", "2"))
	joined(t, feed, "r", 1)
	if e := watermarks(t, l, "r"); e.Floor != floor || e.Tails[0] != second || l.Losses() != 0 {
		t.Errorf("watermarks %+v, %d losses; nothing was lost", e, l.Losses())
	}
	if events := all(t, l, "r"); len(events) != 2 || events[1].Prev != first {
		t.Errorf("%d events, want 2 in a chain", len(events))
	}
}

// A feed that loses its connection reports Lost and announces its rooms again with their
// tickets. A reader that reads the log at the announcement misses nothing.
func TestFeedCut(t *testing.T) {
	server := redistest.Start(t)
	l := open(t, Options{URL: server.URL()})
	feed := follow(t, l, "r")
	var want []streams.ID
	for i := range 3 {
		want = append(want, put(t, l, draft("r", strconv.Itoa(i))))
		nextIs(t, feed, want[len(want)-1])
		if err := server.Client().ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		want = append(want, put(t, l, draft("r", strconv.Itoa(i))))
		lost(t, feed)
		joined(t, feed, "r", 1)
	}
	for i, e := range all(t, l, "r") {
		if e.ID != want[i] {
			t.Errorf("event %d is %s, want %s", i, e.ID, want[i])
		}
	}
}

// Redis disconnects a subscriber with a full output buffer. The reader gets Lost, and finds
// the missed events in the log.
func TestFeedCutForFullBuffer(t *testing.T) {
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 100kb 0 0")
	l := open(t, Options{URL: server.URL()})
	feed := follow(t, l, "r")
	big := make([]streams.Draft, 100)
	for i := range big {
		big[i] = draft("r", `"`+strings.Repeat("x", 60_000)+`"`)
	}
	for _, r := range l.Append(t.Context(), big) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	lost(t, feed)
	joined(t, feed, "r", 1)
	if n := len(all(t, l, "r")); n != len(big) {
		t.Errorf("%d events in the log, want %d", n, len(big))
	}
	nextIs(t, feed, put(t, l, draft("r", "1")))
}

// Two nodes that write to one room concurrently form one chain of prev, and both feeds
// deliver all of it.
func TestTwoNodesOneChain(t *testing.T) {
	const each, publishers = 100, 4
	opt := Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()}
	nodes := []*Log{open(t, opt), open(t, opt)}
	feeds := []streams.Feed{follow(t, nodes[0], "r"), follow(t, nodes[1], "r")}
	var publishing sync.WaitGroup
	for i := range publishers {
		publishing.Go(func() {
			for range each {
				if r := nodes[i%2].Append(t.Context(), []streams.Draft{draft("r", "1")})[0]; r.Err != nil {
					t.Error(r.Err)
				}
			}
		})
	}
	publishing.Wait()
	events := all(t, nodes[0], "r")
	if len(events) != each*publishers {
		t.Fatalf("%d events, want %d", len(events), each*publishers)
	}
	for i, e := range events {
		if i > 0 && e.Prev != events[i-1].ID {
			t.Fatalf("event %d has Prev %s, want %s", i, e.Prev, events[i-1].ID)
		}
		for _, f := range feeds {
			nextIs(t, f, e.ID)
		}
	}
}

// A Redis that refuses connections is as unavailable as one that does not answer.
func TestConnectionRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "redis://" + listener.Addr().String()
	_ = listener.Close()
	l := open(t, Options{URL: url})
	refusedBy(t, l, draft("r", "1"), streams.ErrUnavailable)
}
