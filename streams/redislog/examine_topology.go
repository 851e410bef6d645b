package redislog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// fewSentinels is how many it takes for a majority when one of them is away.
const fewSentinels = 3

// sentinels asks each Sentinel of the URL.
func (x *examination) sentinels(ctx context.Context) {
	const about = "sentinel"
	named := map[string]bool{}
	for _, a := range askSentinels(ctx, x.log.opt) {
		if a.err != nil {
			x.report.add(Finding{Warning, a.addr, about, oneLine(a.err), "It is of no use to find the master.", "Start it, or put the URL in order."})
			continue
		}
		named[a.master] = true
		x.quorum(ctx, a.addr)
	}
	if len(named) > 1 {
		x.report.add(one(Problem, about, "they name different masters", "Nodes write to different servers: one of them will be thrown away with all that it took.",
			"Look at SENTINEL MASTER on each.")...)
	}
}

// quorum asks a Sentinel whether there are enough of them to replace the master.
func (x *examination) quorum(ctx context.Context, addr string) {
	const about = "sentinel"
	c := x.log.opt.sentinelClient(addr)
	defer c.Close()
	name := x.log.opt.place.master
	others, err := ask(ctx, x.log.opt.Timeout, func(ctx context.Context) ([]map[string]string, error) { return c.Sentinels(ctx, name).Result() })
	if err == nil && len(others)+1 < fewSentinels {
		x.report.add(Finding{Warning, addr, about, fmt.Sprintf("%d Sentinels in all", len(others)+1),
			"When one of them is away there is no majority to replace the master.", "Run three, on three machines."})
	}
	_, err = ask(ctx, x.log.opt.Timeout, func(ctx context.Context) (string, error) { return c.CkQuorum(ctx, name).Result() })
	switch {
	case err == nil:
		x.report.add(Finding{OK, addr, about, fmt.Sprintf("it knows %d others, and a quorum", len(others)), "", ""})
	case redis.HasErrorPrefix(err, "NOQUORUM"):
		x.report.add(Finding{Problem, addr, about, err.Error(), "A master that fails now is not replaced.", "Start the Sentinels that are away."})
	default: // a user who may not ask: nothing is known
		x.report.add(Finding{Note, addr, about, "its quorum: " + oneLine(err), "It cannot be read whether a master that fails is replaced.", ""})
	}
}

// slots looks whether all slots have a master, and all partitions a master with a
// replica.
func (x *examination) slots(ctx context.Context) {
	const about = "cluster"
	nodes := x.log.client.(*redis.ClusterClient)
	ranges, err := ask(ctx, x.log.opt.Timeout, func(ctx context.Context) ([]redis.ClusterSlot, error) {
		//lint:ignore SA1019 a node's user may CLUSTER SLOTS, and need not be allowed CLUSTER SHARDS
		return nodes.ClusterSlots(ctx).Result()
	})
	if err != nil {
		x.report.add(one(Problem, about, "CLUSTER SLOTS: "+oneLine(err), "Nodes cannot tell where to write.", "Look at CLUSTER INFO.")...)
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
		x.report.add(one(Problem, about, fmt.Sprintf("%d of %d slots have a server", covered, allSlots),
			"Partitions whose slot has none are away; with cluster-require-full-coverage yes, all are.", "Bring back what is missing, or run redis-cli --cluster fix.")...)
	}
	x.placePartitions(ctx, nodes, replicas)
}

// allSlots is how many hash slots there are.
const allSlots = 16384

// placePartitions says where the partitions are, and which of them nobody could take over.
func (x *examination) placePartitions(ctx context.Context, nodes *redis.ClusterClient, replicas map[string]int) {
	const about = "partitions"
	on, alone := map[string]int{}, []string(nil)
	for _, p := range x.log.partitions {
		c, err := ask(ctx, x.log.opt.Timeout, func(ctx context.Context) (*redis.Client, error) { return nodes.MasterForKey(ctx, p.clock()) })
		if err != nil {
			x.report.add(one(Problem, about, fmt.Sprintf("partition %d: %s", p.id, oneLine(err)), "Its part of the log cannot be used.", "Look at CLUSTER SLOTS.")...)
			continue
		}
		addr := c.Options().Addr
		on[addr]++
		if replicas[addr] == 0 {
			alone = append(alone, fmt.Sprint(p.id))
		}
	}
	if alone != nil {
		x.report.add(one(Warning, about, "no replica: "+strings.Join(alone, ", "), "When the master of one of these is down, so is the partition.", "Give each master a replica.")...)
	}
	counts := make([]string, 0, len(on))
	for addr, n := range on {
		counts = append(counts, fmt.Sprintf("%d on %s", n, addr))
	}
	slices.Sort(counts)
	x.report.add(one(OK, about, fmt.Sprintf("%d, on %d of %d masters: %s", len(x.log.partitions), len(on), len(x.masters), strings.Join(counts, ", ")), "", "")...)
}
