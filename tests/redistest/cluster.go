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

	// failoverEvery is the delay after which a requested failover is requested again. A
	// replica in a Cluster tries for 5 s: soon after another election in its shard it gets
	// no votes and gives up.
	failoverEvery = 5500 * time.Millisecond
)

// ClusterOptions tune StartCluster. The zero value and nil mean the defaults.
type ClusterOptions struct {
	Options

	NoReplicas bool // only three primaries; otherwise each has a replica
}

// A Cluster is three shards, each a primary with a replica. The two may change roles, and
// slots may move between shards.
type Cluster struct {
	t      testing.TB
	shards [][]*Server
	ids    map[*Server]string
}

// StartCluster starts the nodes and returns when each of them reports that the Cluster is
// complete. Shard i has the i-th third of the slots. A primary that does not answer is
// replaced after about 2 s.
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

// unownedWait is how long a slot may have no owner before Settle repairs it.
const unownedWait = 3 * time.Second

// clusterArgs make a node count as failed after a second, which is long enough on a busy
// machine. Replicas stay in their shard, and take over regardless of the age of their data.
func clusterArgs() []string {
	return []string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
		"--cluster-allow-replica-migration", "no", "--cluster-replica-validity-factor", "0",
	}
}

// create makes a Cluster of separate nodes.
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

// meet returns when each node knows all others.
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

// A member is a node's view of one node of its Cluster.
type member struct {
	primary bool
	of      string // id of its primary, if it is a replica
	healthy bool   // connected and not suspected to have failed
	epoch   int
	slots   []string // as "0-5460" or "7"; migrating slots in brackets
}

// members returns the node's view of its Cluster by node id.
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
			return nil, fmt.Errorf("%s: CLUSTER NODES returned %q", s.Addr(), line)
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

// has reports whether the member owns the slot.
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

// URL returns the address as the program takes it, with all nodes in it.
func (c *Cluster) URL() string { return urlOf("redis+cluster", c.Nodes()) }

// Nodes returns all nodes: of each shard the first primary, then its replica.
func (c *Cluster) Nodes() []*Server { return slices.Concat(c.shards...) }

// Primary returns the present primary of the shard.
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

// primary returns the node of the shard that calls itself primary. If two do, one has not
// yet heard of the other's later election.
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

// Replica returns the other node of the shard.
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

// Slot returns the slot of a key.
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

// Shard returns the shard that owns the slot.
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

// Failover makes the replica of the shard its primary, as an operator would, without a loss.
// It returns the new primary when all nodes know it.
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

// Promoted waits until the shard has another primary than old, and returns it.
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

// Settle returns when all running nodes report that the Cluster is complete, agree on the
// primaries and their slots, and the replicas are connected. It gives slots without an owner
// back, as an operator would.
func (c *Cluster) Settle(ctx context.Context) error {
	deserted := time.Now()
	return until(ctx, func(ctx context.Context) error {
		leads := map[string]*member{} // by id, each primary's own view
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
		if unowned := unowned(leads); len(unowned) == 0 {
			deserted = time.Now()
		} else if time.Since(deserted) > unownedWait {
			return c.adopt(ctx, unowned, leads)
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

// unowned returns the slots that no primary claims.
func unowned(leads map[string]*member) (unowned []int) {
	for slot := range slots {
		owned := false
		for _, lead := range leads {
			owned = owned || lead.has(slot)
		}
		if !owned {
			unowned = append(unowned, slot)
		}
	}
	return unowned
}

// adopt gives slots back to the primaries that other nodes regard as the owners. A slot that
// moved shortly before a failover may lose its owner: a stopped primary returns with its old
// state, at an epoch that takes the slot from its owner, and then hears that it is a
// replica. The other nodes' view of the owner persists, and nothing in Redis 7.0 repairs it
// (redis-cli --cluster fix does the same).
func (c *Cluster) adopt(ctx context.Context, unowned []int, leads map[string]*member) error {
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
			for _, slot := range unowned {
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
	return fmt.Errorf("slots %v had no owner", unowned)
}

// settled returns an error until the node agrees with the primaries' own views.
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
			return fmt.Errorf("%s: %s has slots %v, but reports %v itself", n.Addr(), other.Addr(), said.slots, lead.slots)
		}
	}
	return nil
}

// sameSlots compares two views of slots without the migrating ones, which only the owner
// reports.
func sameSlots(a, b []string) bool {
	moving := func(s string) bool { return strings.HasPrefix(s, "[") }
	return slices.Equal(slices.DeleteFunc(slices.Clone(a), moving), slices.DeleteFunc(slices.Clone(b), moving))
}
