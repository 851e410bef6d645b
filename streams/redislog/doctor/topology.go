package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

const (
	// fewSentinels is the number that keeps a majority while one of them is down.
	fewSentinels = 3

	// allSlots is the number of hash slots of a Cluster.
	allSlots = 16384
)

// checkSentinels checks each Sentinel of the URL.
func (x *examination) checkSentinels(ctx context.Context) {
	const about = "sentinel"
	named := map[string]bool{}
	for _, a := range x.conn.AskSentinels(ctx) {
		if a.Err != nil {
			x.report.addFor(a.Addr, Warning, about, rediserr.OneLine(a.Err), "Nodes cannot find the primary through it.", "Start it, or correct the URL.")
			continue
		}
		named[a.Primary] = true
		x.checkQuorum(ctx, a.Addr)
	}
	if len(named) > 1 {
		x.report.add(Problem, about, "they name different primaries",
			"Nodes write to different servers. The failover that follows discards all events of one of them.", "Check SENTINEL MASTER on each.")
	}
}

// checkQuorum asks a Sentinel whether there are enough of them to replace the primary.
func (x *examination) checkQuorum(ctx context.Context, addr string) {
	const about = "sentinel"
	c := x.conn.NewSentinelClient(addr)
	defer c.Close()
	name := x.conn.Endpoint.PrimaryName
	others, err := ask(ctx, x.opt.Timeout, func(ctx context.Context) ([]map[string]string, error) { return c.Sentinels(ctx, name).Result() })
	if err == nil && len(others)+1 < fewSentinels {
		x.report.addFor(addr, Warning, about, fmt.Sprintf("%d Sentinels in all", len(others)+1),
			"When one of them is down, the rest have no majority to replace the primary.", "Run three Sentinels on three machines.")
	}
	_, err = ask(ctx, x.opt.Timeout, func(ctx context.Context) (string, error) { return c.CkQuorum(ctx, name).Result() })
	switch {
	case err == nil:
		x.report.addFor(addr, OK, about, fmt.Sprintf("it knows %d others, and a quorum", len(others)), "", "")
	case redis.HasErrorPrefix(err, "NOQUORUM"):
		x.report.addFor(addr, Problem, about, err.Error(), "If the primary fails now, it is not replaced.", "Start the Sentinels that are down.")
	default: // the user may not ask
		x.report.addFor(addr, Note, about, "its quorum: "+rediserr.OneLine(err), "The doctor cannot read whether a failed primary is replaced.", "Give the Sentinel's user the permission +sentinel|ckquorum.")
	}
}

// checkSlots checks that every slot has a primary, and that every partition's primary has
// a replica.
func (x *examination) checkSlots(ctx context.Context) {
	const about = "cluster"
	nodes := x.client.(*redis.ClusterClient)
	ranges, err := ask(ctx, x.opt.Timeout, func(ctx context.Context) ([]redis.ClusterSlot, error) {
		//lint:ignore SA1019 a node's user may run CLUSTER SLOTS, and possibly not CLUSTER SHARDS
		return nodes.ClusterSlots(ctx).Result()
	})
	if err != nil {
		x.report.add(Problem, about, "CLUSTER SLOTS: "+rediserr.OneLine(err), "Nodes cannot tell where to write.", "Check CLUSTER INFO.")
		return
	}
	covered, replicas := 0, map[string]int{}
	for _, r := range ranges {
		covered += r.End - r.Start + 1
		if len(r.Nodes) > 0 {
			replicas[r.Nodes[0].Addr] = len(r.Nodes) - 1
		}
	}
	if covered < allSlots {
		x.report.add(Problem, about, fmt.Sprintf("%d of %d slots have a server", covered, allSlots),
			"Partitions in a slot without a server are unavailable. With cluster-require-full-coverage yes, all partitions are.",
			"Start the missing servers, or run redis-cli --cluster fix.")
	}
	x.checkPartitions(ctx, nodes, replicas)
}

// checkPartitions reports the primary of each partition, and the partitions whose primary
// has no replica. replicas has their number for each primary.
func (x *examination) checkPartitions(ctx context.Context, nodes *redis.ClusterClient, replicas map[string]int) {
	const about = "partitions"
	on, alone := map[string]int{}, []string(nil)
	for i := range x.partitions {
		p := &x.partitions[i]
		c, err := ask(ctx, x.opt.Timeout, func(ctx context.Context) (*redis.Client, error) { return nodes.MasterForKey(ctx, p.Clock()) })
		if err != nil {
			x.report.add(Problem, about, fmt.Sprintf("partition %d: %s", p.ID, rediserr.OneLine(err)), "The rooms of this partition are unavailable.", "Check CLUSTER SLOTS.")
			continue
		}
		addr := c.Options().Addr
		on[addr]++
		if replicas[addr] == 0 {
			alone = append(alone, fmt.Sprint(p.ID))
		}
	}
	if alone != nil {
		x.report.add(Warning, about, "no replica: "+strings.Join(alone, ", "), "While the primary of one of these partitions is down, the partition is unavailable.", "Give each primary a replica.")
	}
	counts := make([]string, 0, len(on))
	for addr, n := range on {
		counts = append(counts, fmt.Sprintf("%d on %s", n, addr))
	}
	slices.Sort(counts)
	x.report.add(OK, about, fmt.Sprintf("%d, on %d of %d primaries: %s", len(x.partitions), len(on), len(x.primaries), strings.Join(counts, ", ")), "", "")
}
