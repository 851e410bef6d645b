package redislog

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/tests/redistest"
)

// counts returns the number of round trips of each kind.
func counts(t *testing.T, r *prometheus.Registry) map[string]uint64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "tidemark_redis_call_seconds" {
				made[m.Label[0].GetValue()] = m.Histogram.GetSampleCount()
			}
		}
	}
	return made
}

// Each round trip is counted by its kind, on a single server and in a Cluster.
func TestRoundTripsAreCounted(t *testing.T) {
	for name, url := range map[string]string{
		"single":  redistest.Shared(t).URL(),
		"cluster": redistest.StartCluster(t, nil).URL(),
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			l := open(t, Options{URL: url, Prefix: newPrefix(), Metrics: registry})
			put(t, l, draft("r", "1")) // also loads the script
			before := counts(t, registry)
			put(t, l, draft("r", "2"))
			all(t, l, "r")
			if _, err := l.Watermarks(t.Context(), l.partition("r").ID, nil); err != nil {
				t.Fatal(err)
			}
			if err := l.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			after := counts(t, registry)
			for call, atLeast := range map[string]uint64{callAppend: 1, callRead: 1, callEdges: 1, callPing: uint64(l.Partitions())} {
				if got := after[call] - before[call]; got < atLeast {
					t.Errorf("%d round trips for %s, want %d", got, call, atLeast)
				}
			}
			if after[callAppend]-before[callAppend] != 1 {
				t.Errorf("%d round trips for one append", after[callAppend]-before[callAppend])
			}
			if after[callDial] == 0 || after[callOther] == 0 {
				t.Errorf("no dial or no connection set-up was counted: %v", after)
			}
			follow(t, l, "r")
			if n := counts(t, registry)[callSubscribe]; n == 0 {
				t.Error("no subscription was counted")
			}
		})
	}
}

// An append that waits for replicas has its own kind.
func TestWaitingAppendsAreCounted(t *testing.T) {
	primary := redistest.StartProcess(t)
	redistest.StartReplica(t, primary)
	registry := prometheus.NewRegistry()
	l := open(t, Options{URL: primary.URL(), Metrics: registry})
	d := draft("r", "1")
	d.Durability = streams.Replicated
	l.Append(t.Context(), []streams.Draft{d, d})
	if n := counts(t, registry); n[callAppendDurable] == 0 || n[callAppend] != 0 {
		t.Errorf("round trips: %v", n)
	}
}

// Probes come back on each partition's feed, and are not delivered as events.
func TestProbesComeBack(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix(), Partitions: 2})
	if p, ok := l.FeedProbe(); ok {
		t.Errorf("%+v before there is a feed", p)
	}
	feed := follow(t, l, roomOf(l, "r", 0))
	other := l.Feed(1)
	defer other.Close()
	eventually(t, "a probe of each partition", func() bool { _, ok := l.FeedProbe(); return ok })
	p, _ := l.FeedProbe()
	if p.Lag <= 0 || p.Lag > waitLimit || time.Since(p.At) > waitLimit {
		t.Errorf("%+v", p)
	}
	nextIs(t, feed, put(t, l, draft(roomOf(l, "r", 0), "1")))
	var m dto.Metric
	if err := l.metrics.probes.Write(&m); err != nil || m.Histogram.GetSampleCount() < 2 {
		t.Errorf("%d probes counted, want one of each partition", m.Histogram.GetSampleCount())
	}
}

// A probe counts as lost when the next one is due, and comes back at most once. Foreign
// messages on the channel do not count.
func TestFeedProbe(t *testing.T) {
	p := newFeedProbe(nil, newPartition(keys.New("test", 0, 0)))
	if err := p.confirm(&redis.Subscription{Kind: "sunsubscribe"}); err == nil {
		t.Error("an unexpected leave was accepted")
	}
	if err := p.confirm(&redis.Subscription{Kind: "ssubscribe"}); err != nil {
		t.Fatal(err)
	}
	if err := p.confirm(&redis.Subscription{Kind: "ssubscribe"}); err == nil {
		t.Error("a second confirmation was accepted")
	}
	first, lost := p.next()
	second, again := p.next()
	if lost || !again {
		t.Errorf("lost: %v, then %v; want only the first to be", lost, again)
	}
	for _, tt := range []struct {
		text string
		want bool
	}{{first, false}, {"", false}, {"x", false}, {second, true}, {second, false}} {
		if _, ok := p.lag(tt.text); ok != tt.want {
			t.Errorf("lag of %q: %v", tt.text, ok)
		}
	}
	if _, lost := p.next(); lost {
		t.Error("a probe that came back counts as lost")
	}
}
