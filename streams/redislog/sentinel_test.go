package redislog

import (
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

// What servers behind Sentinel go through in their life, one after the other.
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

// Sentinel's failover does not wait for the replica, so that even an operator's
// may lose what the master acknowledged last.
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

// A master that goes away is replaced, and is a replica when it is back, though it
// calls itself master for a moment.
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

// A replica that lags and whose clock is an hour behind is promoted: what it does
// not have is told, ids rise past all that was delivered, and live goes on.
func TestLaggingReplicaWithAnOldClock(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, &redistest.SentinelOptions{Options: redistest.Options{Clock: true}})
	opt := Options{URL: s.URL()}
	l := open(t, opt)
	feed := follow(t, l, "r")
	for range 3 {
		nextIs(t, feed, put(t, l, draft("r", "kept")))
	}
	if n := s.Primary().Client().Wait(t.Context(), 1, patience).Val(); n != 1 {
		t.Fatal("the replica does not follow")
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
	e := edges(t, l, "r")
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
		t.Errorf("%d events, want the 3 kept and the next one, whose prev shows that some are missing", len(events))
	}

	old.Restart()
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := edges(t, open(t, opt), "r"); again.Floor != e.Floor || again.Tails[0] != next {
		t.Errorf("another node finds floor %s and tail %s, want %s and %s", again.Floor, again.Tails[0], e.Floor, next)
	}
}
