package redislog

import (
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

// TestSentinel runs the typical failures behind Sentinel, one after the other.
func TestSentinel(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, nil)
	t.Run("Promises", func(t *testing.T) { promises(t, Options{URL: s.URL()}) })
	t.Run("Failover", func(t *testing.T) { testSentinelFailover(t, s) })
	t.Run("PrimaryKilled", func(t *testing.T) {
		testSentinelReplaces(t, s, (*redistest.Server).Kill, (*redistest.Server).Restart)
	})
	t.Run("PrimaryStops", func(t *testing.T) {
		testSentinelReplaces(t, s, (*redistest.Server).Pause, (*redistest.Server).Resume)
	})
}

// Sentinel's failover does not wait for the replica. Even a failover by an operator may
// lose the last acknowledged events.
func testSentinelFailover(t *testing.T, s *redistest.Sentinel) {
	tr := startTraffic(t, open(t, Options{URL: s.URL(), Prefix: newPrefix()}), 0)
	for range 2 {
		tr.goOn(20)
		promoted, err := s.Failover(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tr.goOn(20)
		tr.followedAt(promoted, s.Replicas()[0], []streams.Partition{0})
	}
	tr.finish()
	tr.lossesTold()
}

// A primary that fails is replaced. When it comes back it becomes a replica, although it
// reports itself as primary for a moment.
func testSentinelReplaces(t *testing.T, s *redistest.Sentinel, away, back func(*redistest.Server)) {
	tr := startTraffic(t, open(t, Options{URL: s.URL(), Prefix: newPrefix(), Timeout: time.Second}), 0)
	tr.goOn(20)
	old := s.Primary()
	away(old)
	promoted, err := s.Promoted(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	back(old)
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	tr.followedAt(promoted, old, []streams.Partition{0})
	tr.finish()
	tr.lossesTold()
}

// A lagging replica with a clock that is an hour behind is promoted. Readers are told of
// the lost events, ids rise past all delivered ones, and live delivery continues.
func TestLaggingReplicaWithSlowClock(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, &redistest.SentinelOptions{Options: redistest.Options{Clock: true}})
	opt := Options{URL: s.URL()}
	l := open(t, opt)
	feed := follow(t, l, "r")
	for range 3 {
		nextIs(t, feed, put(t, l, draft("r", "kept")))
	}
	if n := s.Primary().Client().Wait(t.Context(), 1, waitLimit).Val(); n != 1 {
		t.Fatal("the replica does not replicate")
	}
	replica := s.Replicas()[0]
	replica.Detach()
	var newest streams.ID
	for range 5 {
		newest = put(t, l, draft("r", "lost"))
		nextIs(t, feed, newest)
	}
	replica.StepClock(-time.Hour)

	old := s.Kill()
	if _, err := s.Promoted(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	lost(t, feed)
	joined(t, feed, "r", 1)
	e := watermarks(t, l, "r")
	if e.Floor.Before(newest) || e.Last.Before(newest) || l.Losses() != 1 {
		t.Errorf("floor %s and last %s, the newest event delivered was %s; %d losses noticed", e.Floor, e.Last, newest, l.Losses())
	}
	next := put(t, l, draft("r", "next"))
	if !newest.Before(next) {
		t.Errorf("id %s after %s", next, newest)
	}
	nextIs(t, feed, next)
	events := all(t, l, "r")
	if len(events) != 4 || events[3].Prev.Before(e.Floor) {
		t.Errorf("%d events, want the 3 kept ones and the next one, whose prev shows that some are missing", len(events))
	}

	old.Restart()
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := watermarks(t, open(t, opt), "r"); again.Floor != e.Floor || again.Tails[0] != next {
		t.Errorf("another node finds floor %s and tail %s, want %s and %s", again.Floor, again.Tails[0], e.Floor, next)
	}
}
