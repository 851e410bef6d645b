package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	shards = 3
	slots  = 16384

	// failoverEvery is how long a failover that was ordered may take before it is
	// ordered again. A replica in a Cluster tries for 5 s: it gets no votes soon after
	// another election in its shard, and then gives up.
	failoverEvery = 5500 * time.Millisecond
)

// ClusterOptions say what StartCluster starts. The zero value and nil mean the
// defaults.
type ClusterOptions struct {
	Options

	NoReplicas bool // three primaries alone; else each has a replica
}

// A Cluster is three shards, each a primary with a replica. Which of the two
// leads may change; slots may move from shard to shard.
type Cluster struct {
	t      testing.TB
	shards [][]*Server
	ids    map[*Server]string
}

// StartCluster starts the nodes and returns once each of them calls the Cluster
// complete. Shard i has the i-th third of the slots. A primary that does not
// answer is replaced after some 2 s.
func StartCluster(t testing.TB, opt *ClusterOptions) *Cluster {
	t.Helper()
	if opt == nil {
		opt = new(ClusterOptions)
	}
	c := &Cluster{t: t, ids: map[*Server]string{}}
	node := opt.Options
	node.Args = append(clusterArgs(), opt.Args...)
	for range shards {
		shard := []*Server{StartWith(t, node)}
		if !opt.NoReplicas {
			shard = append(shard, StartWith(t, node))
		}
		c.shards = append(c.shards, shard)
	}
	if err := c.create(t.Context()); err != nil {
		t.Fatalf("start Cluster: %v", err)
	}
	return c
}

// orphanWait is for how long a slot may have no owner before somebody mends it.
const orphanWait = 3 * time.Second

// clusterArgs let a node count as dead after a second: long enough for one that
// waits for a busy machine. Replicas stay with their shard, and take over however
// old their data are.
func clusterArgs() []string {
	return []string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
		"--cluster-allow-replica-migration", "no", "--cluster-replica-validity-factor", "0",
	}
}

// create makes a Cluster of nodes that do not know each other.
func (c *Cluster) create(ctx context.Context) error {
	for i, n := range c.Nodes() {
		id, err := n.admin().Do(ctx, "CLUSTER", "MYID").Text()
		if err != nil {
			return err
		}
		c.ids[n] = id
		if err := n.admin().Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return err
		}
	}
	if err := c.meet(ctx); err != nil {
		return err
	}
	for i, shard := range c.shards {
		from, through := i*slots/shards, (i+1)*slots/shards-1
		if err := shard[0].admin().ClusterAddSlotsRange(ctx, from, through).Err(); err != nil {
			return err
		}
		for _, replica := range shard[1:] {
			if err := replica.admin().ClusterReplicate(ctx, c.ids[shard[0]]).Err(); err != nil {
				return err
			}
		}
	}
	return c.Settle(ctx)
}

// meet returns once each node knows all others.
func (c *Cluster) meet(ctx context.Context) error {
	nodes := c.Nodes()
	for i, a := range nodes {
		for _, b := range nodes[i+1:] {
			host, port, _ := net.SplitHostPort(b.Addr())
			bus := b.b.(*processServer).bus.String()
			if err := a.admin().Do(ctx, "CLUSTER", "MEET", host, port, bus).Err(); err != nil {
				return err
			}
		}
	}
	return until(ctx, func(ctx context.Context) error {
		for _, n := range nodes {
			known, err := n.members(ctx)
			if err != nil {
				return err
			}
			for _, other := range nodes {
				if known[c.ids[other]] == nil {
					return fmt.Errorf("%s has not met %s", n.Addr(), other.Addr())
				}
			}
		}
		return nil
	})
}

// A member is what a node says of one node of its Cluster.
type member struct {
	primary bool
	of      string // id of its primary, if it is a replica
	healthy bool   // linked and not thought to have failed
	epoch   int
	slots   []string // as "0-5460" or "7", and those on the move in brackets
}

// members is what the node says of its Cluster, by the ids of the nodes.
func (s *Server) members(ctx context.Context) (map[string]*member, error) {
	if !s.running() {
		return nil, fmt.Errorf("%s: %w", s.Addr(), errDown)
	}
	text, err := s.admin().ClusterNodes(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Addr(), err)
	}
	all := map[string]*member{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line) // id address flags primary ping pong epoch link slots...
		if len(f) < 8 {
			return nil, fmt.Errorf("%s: CLUSTER NODES says %q", s.Addr(), line)
		}
		flags := strings.Split(f[2], ",")
		if slices.Contains(flags, "handshake") {
			continue
		}
		m := &member{primary: slices.Contains(flags, "master"), of: f[3], slots: f[8:]}
		m.healthy = f[7] == "connected" && !slices.Contains(flags, "fail") && !slices.Contains(flags, "fail?")
		m.epoch, _ = strconv.Atoi(f[6])
		all[f[0]] = m
	}
	return all, nil
}

// has reports whether the slot is the member's.
func (m *member) has(slot int) bool {
	for _, s := range m.slots {
		first, last, isRange := strings.Cut(s, "-")
		from, err := strconv.Atoi(first)
		through := from
		if err == nil && isRange {
			through, err = strconv.Atoi(last)
		}
		if err == nil && from <= slot && slot <= through {
			return true
		}
	}
	return false
}

// URL is the address in the form that the program takes, with all nodes in it.
func (c *Cluster) URL() string { return urlOf("redis+cluster", c.Nodes()) }

// Nodes are all nodes: of each shard the first primary, then its replica.
func (c *Cluster) Nodes() []*Server { return slices.Concat(c.shards...) }

// Primary is the node that leads the shard now.
func (c *Cluster) Primary(shard int) *Server {
	c.t.Helper()
	var primary *Server
	err := until(context.Background(), func(ctx context.Context) (err error) {
		primary, err = c.primary(ctx, shard)
		return err
	})
	if err != nil {
		c.t.Fatalf("primary of shard %d: %v", shard, err)
	}
	return primary
}

// primary is the node of the shard that calls itself primary; of two that do so,
// one has not heard yet of the other's later election.
func (c *Cluster) primary(ctx context.Context, shard int) (*Server, error) {
	var primary *Server
	newest := -1
	for _, n := range c.shards[shard] {
		known, err := n.members(ctx)
		if err != nil {
			continue
		}
		if me := known[c.ids[n]]; me.primary && me.epoch > newest {
			primary, newest = n, me.epoch
		}
	}
	if primary == nil {
		return nil, errors.New("no node of it leads")
	}
	return primary, nil
}

// Replica is the other node of the shard.
func (c *Cluster) Replica(shard int) *Server {
	c.t.Helper()
	primary := c.Primary(shard)
	for _, n := range c.shards[shard] {
		if n != primary {
			return n
		}
	}
	c.t.Fatalf("shard %d has no replica", shard)
	return nil
}

// Slot is the slot of a key.
func (c *Cluster) Slot(key string) int {
	c.t.Helper()
	for _, n := range c.Nodes() {
		if slot, err := n.admin().ClusterKeySlot(context.Background(), key).Result(); err == nil {
			return int(slot)
		}
	}
	c.t.Fatal("no node of the Cluster answers")
	return 0
}

// Shard is the shard that has the slot.
func (c *Cluster) Shard(slot int) int {
	c.t.Helper()
	for i := range c.shards {
		p := c.Primary(i)
		known, err := p.members(context.Background())
		if err == nil && known[c.ids[p]].has(slot) {
			return i
		}
	}
	c.t.Fatalf("no shard has slot %d", slot)
	return 0
}

// Kill ends the primary of the shard with SIGKILL and returns it.
func (c *Cluster) Kill(shard int) *Server {
	c.t.Helper()
	primary := c.Primary(shard)
	primary.Kill()
	return primary
}

// Failover makes the replica of the shard its primary, as an operator would, with
// nothing lost, and returns it once all nodes know.
func (c *Cluster) Failover(ctx context.Context, shard int) (*Server, error) {
	old, err := c.primary(ctx, shard)
	if err != nil {
		return nil, err
	}
	var asked time.Time
	err = until(ctx, func(ctx context.Context) error {
		leads, err := c.primary(ctx, shard)
		if err != nil || leads != old {
			return err
		}
		err = fmt.Errorf("%s still leads", old.Addr())
		if time.Since(asked) < failoverEvery {
			return err
		}
		asked = time.Now()
		for _, n := range c.shards[shard] {
			if n != old {
				err = errors.Join(err, n.admin().ClusterFailover(ctx).Err())
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fail over: %w", err)
	}
	promoted, err := c.Promoted(ctx, shard, old)
	if err != nil {
		return nil, err
	}
	return promoted, c.Settle(ctx)
}

// Promoted returns the primary of the shard once it is another one than old.
func (c *Cluster) Promoted(ctx context.Context, shard int, old *Server) (promoted *Server, err error) {
	err = until(ctx, func(ctx context.Context) error {
		if promoted, err = c.primary(ctx, shard); err != nil {
			return err
		}
		if promoted == old {
			return fmt.Errorf("%s still leads", old.Addr())
		}
		return nil
	})
	return promoted, err
}

// Settle returns once all nodes that run call the Cluster complete, agree on who
// leads which shard and has which slots, and the replicas follow. Slots that nobody
// has it gives back, as an operator would.
func (c *Cluster) Settle(ctx context.Context) error {
	deserted := time.Now()
	return until(ctx, func(ctx context.Context) error {
		leads := map[string]*member{} // by id, as each says itself
		for i := range c.shards {
			p, err := c.primary(ctx, i)
			if err != nil {
				return fmt.Errorf("shard %d: %w", i, err)
			}
			known, err := p.members(ctx)
			if err != nil {
				return err
			}
			leads[c.ids[p]] = known[c.ids[p]]
		}
		if orphans := orphans(leads); len(orphans) == 0 {
			deserted = time.Now()
		} else if time.Since(deserted) > orphanWait {
			return c.adopt(ctx, orphans, leads)
		}
		for _, n := range c.Nodes() {
			if n.running() {
				if err := c.settled(ctx, n, leads); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// orphans are the slots that no primary says are its own.
func orphans(leads map[string]*member) (orphans []int) {
	for slot := range slots {
		owned := false
		for _, lead := range leads {
			owned = owned || lead.has(slot)
		}
		if !owned {
			orphans = append(orphans, slot)
		}
	}
	return orphans
}

// adopt gives slots back to the primaries that others take for their owners. A slot
// that was moved shortly before a failover may be left so: a primary that was stopped
// meanwhile comes back with what it knew of old, at an epoch that takes the slot from
// its owner, and then hears that it is a replica. What others know of the owner only
// grows, and nothing in Redis 7.0 mends it (redis-cli --cluster fix does the same).
func (c *Cluster) adopt(ctx context.Context, orphans []int, leads map[string]*member) error {
	for _, owner := range c.Nodes() {
		id := c.ids[owner]
		if leads[id] == nil {
			continue
		}
		for _, other := range c.Nodes() {
			known, err := other.members(ctx)
			if err != nil || known[id] == nil {
				continue
			}
			for _, slot := range orphans {
				if !known[id].has(slot) {
					continue
				}
				if err := owner.admin().Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", id).Err(); err != nil {
					return err
				}
				if err := owner.admin().Do(ctx, "CLUSTER", "BUMPEPOCH").Err(); err != nil {
					return err
				}
			}
		}
	}
	return fmt.Errorf("slots %v had no owner", orphans)
}

// settled complains until the node says what the primaries say of themselves.
func (c *Cluster) settled(ctx context.Context, n *Server, leads map[string]*member) error {
	info, err := n.admin().ClusterInfo(ctx).Result()
	if err == nil && !strings.Contains(info, "cluster_state:ok") {
		err = fmt.Errorf("%s: the Cluster is not complete", n.Addr())
	}
	if err == nil && leads[c.ids[n]] == nil {
		err = n.linked(ctx)
	}
	if err != nil {
		return err
	}
	known, err := n.members(ctx)
	if err != nil {
		return err
	}
	for _, other := range c.Nodes() {
		id := c.ids[other]
		said, lead := known[id], leads[id]
		switch {
		case said == nil || other.running() && !said.healthy:
			return fmt.Errorf("%s: %s is not well", n.Addr(), other.Addr())
		case other.running() && said.primary != (lead != nil):
			return fmt.Errorf("%s: whether %s leads is not known", n.Addr(), other.Addr())
		case lead != nil && !sameSlots(said.slots, lead.slots):
			return fmt.Errorf("%s: %s has slots %v, says itself %v", n.Addr(), other.Addr(), said.slots, lead.slots)
		}
	}
	return nil
}

// sameSlots compares what nodes say of slots, but for those on the move, which
// only the owner mentions.
func sameSlots(a, b []string) bool {
	moving := func(s string) bool { return strings.HasPrefix(s, "[") }
	return slices.Equal(slices.DeleteFunc(slices.Clone(a), moving), slices.DeleteFunc(slices.Clone(b), moving))
}
