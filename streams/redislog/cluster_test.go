package redislog

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

// inCluster is a log in a Cluster, with the location of its partitions.
type inCluster struct {
	*Log
	c      *redistest.Cluster
	shards [][]streams.Partition // the partitions of each shard
}

func openInCluster(t *testing.T, c *redistest.Cluster, opt Options) *inCluster {
	t.Helper()
	opt.URL, opt.Prefix, opt.Partitions = c.URL(), newPrefix(), 16
	l := &inCluster{Log: open(t, opt), c: c, shards: make([][]streams.Partition, 3)}
	for _, p := range l.partitions {
		shard := c.Shard(l.slot(p.ID))
		l.shards[shard] = append(l.shards[shard], p.ID)
	}
	return l
}

func (l *inCluster) slot(p streams.Partition) int { return l.c.Slot(l.partitions[p].Clock()) }

// some are two partitions of each shard.
func (l *inCluster) some() []streams.Partition {
	return slices.Concat(l.shards[0][:2], l.shards[1][:2], l.shards[2][:2])
}

// lostAt checks that the feeds of shard were lost, and that no other feed was.
func (tr *traffic) lostAt(l *inCluster, shard int) {
	tr.t.Helper()
	for _, r := range tr.readers {
		if ours := slices.Contains(l.shards[shard], r.p); ours != (r.lost() > 0) {
			tr.t.Errorf("the feed of partition %d, in shard %d: %v, was lost %d times", r.p, shard, ours, r.lost())
		}
	}
}

// followedAt waits until the feeds of the partitions are subscribed at server, and checks
// that they are not subscribed at other.
func (tr *traffic) followedAt(server, other *redistest.Server, partitions []streams.Partition) {
	tr.t.Helper()
	at := func(s *redistest.Server, channel string) int64 {
		return s.Client().PubSubShardNumSub(tr.t.Context(), channel).Val()[channel]
	}
	for _, r := range tr.readers {
		if slices.Contains(partitions, r.p) {
			channel := tr.log.partitions[r.p].Channel(r.room)
			eventually(tr.t, "the feed of "+string(r.room)+" is at the primary", func() bool { return at(server, channel) > 0 })
			if n := at(other, channel); n != 0 {
				tr.t.Errorf("%d subscriptions of %s elsewhere", n, r.room)
			}
		}
	}
}

// TestCluster runs the typical failures of a Cluster, one after the other.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, nil)
	t.Run("Promises", func(t *testing.T) { promises(t, Options{URL: c.URL(), Partitions: 16}) })
	t.Run("FeedRefusesAReplica", func(t *testing.T) { testFeedRefusesAReplica(t, c) })
	t.Run("FailoverOfAShard", func(t *testing.T) { testFailoverOfAShard(t, c) })
	t.Run("PrimaryKilled", func(t *testing.T) { testPrimaryKilled(t, c) })
	t.Run("ReplicaLags", func(t *testing.T) { testReplicaLags(t, c) })
	t.Run("PrimaryStops", func(t *testing.T) { testPrimaryStops(t, c) })
	t.Run("SlotMoves", func(t *testing.T) { testSlotMoves(t, c) })
}

// A replica accepts subscriptions for its primary's slots. A session rejects it.
func testFeedRefusesAReplica(t *testing.T, c *redistest.Cluster) {
	l := openInCluster(t, c, Options{})
	p := l.shards[0][0]
	feed := l.Feed(p).(*feed)
	t.Cleanup(feed.Close)
	for _, node := range []struct {
		*redistest.Server
		is     string
		refuse bool
	}{{c.Replica(0), "replica", true}, {c.Primary(1), "another shard's primary", true}, {c.Primary(0), "primary", false}} {
		client := node.Client()
		s := feed.newSession(t.Context(), client)
		if err := s.connect(t.Context(), client); redis.HasErrorPrefix(err, "MOVED") != node.refuse {
			t.Errorf("connecting to the %s: %v", node.is, err)
		}
		_ = s.ps.Close()
	}
}

// A failover of one shard by an operator loses nothing, and the other shards continue.
// The feeds move to the new primary, although a replica would accept them too.
func testFailoverOfAShard(t *testing.T, c *redistest.Cluster) {
	l := openInCluster(t, c, Options{})
	tr := startTraffic(t, l.Log, l.some()...)
	tr.goOn(20)
	promoted, err := c.Failover(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	tr.followedAt(promoted, c.Replica(1), l.shards[1])
	tr.finish()
	tr.nothingLost()
	tr.lostAt(l, 1)
}

// A killed primary may lose events that its replica has not received. It comes back empty,
// as a replica.
func testPrimaryKilled(t *testing.T, c *redistest.Cluster) {
	l := openInCluster(t, c, Options{})
	tr := startTraffic(t, l.Log, l.some()...)
	tr.goOn(20)
	old := c.Kill(2)
	if _, err := c.Promoted(t.Context(), 2, old); err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	old.Restart()
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	tr.followedAt(c.Primary(2), old, l.shards[2])
	tr.finish()
	tr.lossesTold()
	tr.lostAt(l, 2)
}

// If a lagging replica takes over, the events that it lacks are lost, and readers are told.
func testReplicaLags(t *testing.T, c *redistest.Cluster) {
	l := openInCluster(t, c, Options{})
	tr := startTraffic(t, l.Log, l.some()...)
	tr.goOn(20)
	replica := c.Replica(1)
	replica.Detach()
	tr.goOn(20)
	old := c.Kill(1)
	if _, err := c.Promoted(t.Context(), 1, old); err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	replica.Attach()
	old.Restart()
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.finish()
	tr.lossesTold()
	tr.lostAt(l, 1)
	if n := l.Losses(); n != 2 {
		t.Errorf("%d losses noticed, want one in each of 2 partitions", n)
	}
}

// A primary that hangs is replaced. When it continues, it becomes a replica. Readers are
// told of every loss.
func testPrimaryStops(t *testing.T, c *redistest.Cluster) {
	l := openInCluster(t, c, Options{Timeout: time.Second})
	tr := startTraffic(t, l.Log, l.some()...)
	tr.goOn(20)
	old := c.Primary(0)
	old.Pause()
	promoted, err := c.Promoted(t.Context(), 0, old)
	if err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	old.Resume()
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	tr.finish()
	tr.followedAt(promoted, old, l.shards[0])
	tr.lossesTold()
	tr.lostAt(l, 0)
}

// While a partition's slot moves to another node, publishes may have to be repeated.
// Nothing is lost or stored twice, logged events can be read, and the feed moves with the
// slot.
func testSlotMoves(t *testing.T, c *redistest.Cluster) {
	l := openInCluster(t, c, Options{Timeout: 300 * time.Millisecond})
	moves := l.shards[0][0]
	tr := startTraffic(t, l.Log, moves, l.shards[1][0])
	tr.goOn(20)
	move, err := c.StartMove(t.Context(), l.slot(moves), 1)
	if err != nil {
		t.Fatal(err)
	}
	moveKeys := func(n int) (moved int) {
		moved, err := move.Keys(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return moved
	}
	moveKeys(10)
	pub := tr.pubs[0]
	eventually(t, "a publish fails, because its keys are on two nodes", func() bool { return pub.failed() > 0 })
	follow(t, open(t, Options{URL: l.opt.URL, Prefix: l.opt.Prefix, Partitions: 16}), pub.room)

	for moveKeys(100) > 0 {
	}
	if n := len(all(t, l.Log, pub.room)); n < 20 {
		t.Errorf("%d events can be read while the slot moves, 20 are acknowledged", n)
	}
	if err := move.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.goOn(20)
	tr.followedAt(c.Primary(1), c.Primary(0), []streams.Partition{moves})
	tr.finish()
	tr.nothingLost()
	if n := tr.readers[1].lost(); n > 0 {
		t.Errorf("the feed of a partition that did not move was lost %d times", n)
	}
}

// While a shard is down, its partitions are unavailable and the others work, if the
// Cluster is configured so. When the shard comes back, its partitions work again.
func TestClusterWithoutAShard(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, &redistest.ClusterOptions{NoReplicas: true, Options: redistest.Options{Args: []string{
		"--cluster-require-full-coverage", "no", "--appendonly", "yes", "--appendfsync", "always",
	}}})
	l := openInCluster(t, c, Options{Timeout: time.Second})
	tr := startTraffic(t, l.Log, l.some()...)
	tr.goOn(20)
	gone := c.Kill(1)
	for range 3 {
		refusedBy(t, l.Log, draft(roomOf(l.Log, "other", l.shards[1][2]), "1"), streams.ErrUnavailable)
		if _, err := l.Watermarks(t.Context(), l.shards[1][2], nil); !errors.Is(err, streams.ErrUnavailable) {
			t.Errorf("Watermarks = %v, want ErrUnavailable", err)
		}
		for _, p := range slices.Concat(l.shards[0], l.shards[2]) {
			put(t, l.Log, draft(roomOf(l.Log, "other", p), "1"))
		}
	}
	if err := l.Ping(t.Context()); !errors.Is(err, streams.ErrUnavailable) {
		t.Errorf("Ping = %v, want ErrUnavailable", err)
	}
	gone.Restart()
	tr.goOn(20)
	if err := l.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v with all shards", err)
	}
	tr.finish()
	tr.nothingLost()
	tr.lostAt(l, 1)
}
