package fault_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/redistest"
)

// behindLinks starts servers that clients reach through a link each.
type behindLinks struct {
	t     *testing.T
	links map[string]*link // by the server's own address
}

func newBehindLinks(t *testing.T) *behindLinks { return &behindLinks{t, make(map[string]*link)} }

// announce is for redistest.Options.
func (b *behindLinks) announce(addr string) string {
	b.t.Helper()
	l := newLink(b.t, addr)
	b.links[addr] = l
	return l.addr
}

func (b *behindLinks) of(s *redistest.Server) *link { return b.links[s.Addr()] }

// settled returns a context for waiting until servers have found each other.
func settled() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), wait.Limit)
}

// sentinel is a primary with a replica and three Sentinels. With durability
// replicated, no failover costs an acknowledged event.
type sentinel struct {
	*behindLinks
	*recorder
	durability string
	servers    *redistest.Sentinel
	direct     map[*redistest.Server]*redis.Client
}

var _ deployment = (*sentinel)(nil)

func newSentinel(t *testing.T, durability string) *sentinel {
	t.Helper()
	s := &sentinel{behindLinks: newBehindLinks(t), durability: durability, direct: make(map[*redistest.Server]*redis.Client)}
	s.servers = redistest.StartSentinel(t, &redistest.SentinelOptions{Options: redistest.Options{Announce: s.announce}})
	for _, server := range s.servers.Nodes() {
		s.direct[server] = server.Client()
	}
	s.recorder = newRecorder(t, s.servers.Nodes())
	return s
}

func (s *sentinel) topology() string                       { return "primary, replica, 3 Sentinels" }
func (s *sentinel) partitions() int                        { return 1 }
func (s *sentinel) keepsAcknowledged() bool                { return s.durability == "replicated" }
func (s *sentinel) primaries(*rand.Rand) *redistest.Server { return s.servers.Primary() }

func (s *sentinel) reach(*testing.T) ([]string, *link) {
	return []string{"--redis=" + s.servers.URL(), "--durability=" + s.durability}, nil
}

func (s *sentinel) read(ctx context.Context, r *room, after streams.ID) ([]entry, error) {
	return readStream(ctx, s.direct[s.servers.Primary()], r, after)
}

// promoted waits until the replica has taken over from old and old has become its replica.
// From there it measures the recovery of the nodes: before, the primary has no replica to
// replicate to.
func (s *sentinel) promoted(w *system, old *redistest.Server, again func()) {
	ctx, cancel := settled()
	defer cancel()
	if _, err := s.servers.Promoted(ctx, old); err != nil {
		w.t.Errorf("failover: %v", err)
	}
	again()
	if err := s.servers.Settle(ctx); err != nil {
		w.t.Errorf("after a failover: %v", err)
	}
	w.measureRecovery(w.nodes...)
}

// faults implements deployment.
func (s *sentinel) faults() []fault {
	return append(primaryFaults(s.behindLinks, s.primaries),
		fault{"Sentinel: failover ordered", func(w *system, r *rand.Rand) {
			w.loseTwice() // the old primary may accept events meanwhile
			ctx, cancel := settled()
			defer cancel()
			if _, err := s.servers.Failover(ctx); err != nil {
				w.t.Errorf("failover: %v", err)
			}
			w.measureRecovery(w.nodes...)
		}},
		fault{"Sentinel: primary killed -9", func(w *system, r *rand.Rand) {
			w.lose(false)
			old := s.servers.Kill()
			s.promoted(w, old, old.Restart)
		}},
		fault{"Sentinel: primary stops until it is replaced", func(w *system, r *rand.Rand) {
			w.loseTwice()
			old := s.servers.Primary()
			old.Pause()
			s.promoted(w, old, old.Resume)
		}},
		fault{"Sentinel: failover to a replica that lags", func(w *system, r *rand.Rand) { s.failOverToLagging(w) }},
	)
}

func (s *sentinel) failOverToLagging(w *system) {
	w.lose(false)
	primary, replica := s.servers.Primary(), s.servers.Replicas()[0]
	lag(w, s.direct[primary], replica)
	s.servers.Kill()
	replica.Resume()
	s.promoted(w, primary, primary.Restart)
}

func (s *sentinel) lossFaults() []fault {
	return []fault{{"FLUSHALL", func(w *system, r *rand.Rand) {
		w.lose(true)
		say(w, s.direct[s.servers.Primary()], "FLUSHALL")
	}}}
}

// loseTwice is lose for a period with two primaries. A node may find that an event of the
// old one is gone, and then receive another from it.
func (w *system) loseTwice() {
	w.lose(false)
	w.lose(false)
}

// lag stops a replica and cuts its connection, so that it misses the next publishes: they do
// not wait for it in a socket.
func lag(w *system, primary redis.UniversalClient, replica *redistest.Server) {
	replica.Pause()
	say(w, primary, "CLIENT", "KILL", "TYPE", "replica")
	time.Sleep(600 * time.Millisecond)
}

// cluster is three primaries, each with a replica, and 16 partitions over them. Nodes
// publish with durability logged: a failover may cost acknowledged events, and the affected
// clients must be told.
type cluster struct {
	*behindLinks
	*recorder
	servers *redistest.Cluster
	direct  *redis.ClusterClient
	each    map[*redistest.Server]*redis.Client
}

var _ deployment = (*cluster)(nil)

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{behindLinks: newBehindLinks(t), each: make(map[*redistest.Server]*redis.Client)}
	c.servers = redistest.StartCluster(t, &redistest.ClusterOptions{Options: redistest.Options{Announce: c.announce}})
	var addrs []string
	for _, server := range c.servers.Nodes() {
		c.each[server] = server.Client()
		addrs = append(addrs, server.Announced())
	}
	c.direct = redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = c.direct.Close() })
	c.recorder = newRecorder(t, c.servers.Nodes())
	return c
}

const shards = 3

func (c *cluster) topology() string        { return "Cluster of 6, 16 partitions" }
func (c *cluster) partitions() int         { return 16 }
func (c *cluster) keepsAcknowledged() bool { return false }

func (c *cluster) reach(*testing.T) ([]string, *link) {
	return []string{"--redis=" + c.servers.URL()}, nil
}

func (c *cluster) read(ctx context.Context, r *room, after streams.ID) ([]entry, error) {
	return readStream(ctx, c.direct, r, after)
}

func (c *cluster) primaries(r *rand.Rand) *redistest.Server {
	return c.servers.Primary(r.IntN(shards))
}

// promoted is sentinel.promoted for one shard.
func (c *cluster) promoted(w *system, shard int, old *redistest.Server, again func()) {
	ctx, cancel := settled()
	defer cancel()
	if _, err := c.servers.Promoted(ctx, shard, old); err != nil {
		w.t.Errorf("failover: %v", err)
	}
	again()
	if err := c.servers.Settle(ctx); err != nil {
		w.t.Errorf("after a failover: %v", err)
	}
	w.measureRecovery(w.nodes...)
}

// faults implements deployment.
func (c *cluster) faults() []fault {
	return append(primaryFaults(c.behindLinks, c.primaries),
		fault{"Cluster: failover ordered", func(w *system, r *rand.Rand) {
			ctx, cancel := settled()
			defer cancel()
			if _, err := c.servers.Failover(ctx, r.IntN(shards)); err != nil {
				w.t.Errorf("failover: %v", err)
			}
			w.measureRecovery(w.nodes...)
		}},
		fault{"Cluster: primary killed -9", func(w *system, r *rand.Rand) {
			w.lose(false)
			shard := r.IntN(shards)
			old := c.servers.Kill(shard)
			c.promoted(w, shard, old, old.Restart)
		}},
		fault{"Cluster: primary stops until it is replaced", func(w *system, r *rand.Rand) {
			w.loseTwice()
			shard := r.IntN(shards)
			old := c.servers.Primary(shard)
			old.Pause()
			c.promoted(w, shard, old, old.Resume)
		}},
		fault{"Cluster: failover to a replica that lags", func(w *system, r *rand.Rand) {
			w.lose(false)
			shard := r.IntN(shards)
			primary, replica := c.servers.Primary(shard), c.servers.Replica(shard)
			lag(w, c.each[primary], replica)
			c.servers.Kill(shard)
			replica.Resume()
			c.promoted(w, shard, primary, primary.Restart)
		}},
		fault{"Cluster: slot moves", func(w *system, r *rand.Rand) {
			ctx, cancel := settled()
			defer cancel()
			slot := c.servers.Slot("{" + prefix + ":" + itoa(r.IntN(c.partitions())) + "}")
			to := (c.servers.Shard(slot) + 1 + r.IntN(shards-1)) % shards
			if err := c.servers.MoveSlot(ctx, slot, to); err != nil {
				w.t.Errorf("move a slot: %v", err)
			}
			w.measureRecovery(w.nodes...)
		}},
	)
}

func (c *cluster) lossFaults() []fault {
	return []fault{{"FLUSHALL on a primary", func(w *system, r *rand.Rand) {
		w.lose(false)
		say(w, c.each[c.primaries(r)], "FLUSHALL")
	}}}
}

// primaryFaults are faults between everything else and one of the primaries. They are
// shorter than a failover takes. A black hole may cause one.
func primaryFaults(b *behindLinks, primary func(*rand.Rand) *redistest.Server) []fault {
	return []fault{
		{"primary: slow", func(w *system, r *rand.Rand) {
			b.of(primary(r)).applyFor(slow(20+r.IntN(100)), between(r, time.Second, 3*time.Second))
		}},
		{"primary: cut", func(w *system, r *rand.Rand) {
			b.of(primary(r)).cut()
			w.measureRecovery(w.nodes...)
		}},
		{"primary: black hole", func(w *system, r *rand.Rand) {
			b.of(primary(r)).applyFor(blackHole(), between(r, 300*time.Millisecond, 800*time.Millisecond))
			w.measureRecovery(w.nodes...)
		}},
	}
}
