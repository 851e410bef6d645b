package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// findPrimaries finds the servers that accept writes.
func (x *examination) findPrimaries(ctx context.Context) {
	nodes, ok := x.client.(*redis.ClusterClient)
	if !ok {
		c := x.client.(*redis.Client)
		x.primaries[x.addrOf(ctx, c)] = c
		return
	}
	var mu sync.Mutex // guards x.primaries, because the client calls back concurrently
	_, err := ask(ctx, x.opt.Timeout, func(ctx context.Context) (any, error) {
		return nil, nodes.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			x.primaries[c.Options().Addr] = c
			return nil
		})
	})
	if err != nil {
		x.report.add(Problem, "cluster", "its primaries: "+rediserr.OneLine(err), "Nodes cannot tell where to write.", "Check CLUSTER INFO and CLUSTER NODES.")
	}
}

// addrOf returns the address of the one server. With Sentinel the URL does not have it.
func (x *examination) addrOf(ctx context.Context, c *redis.Client) string {
	if x.conn.Endpoint.Topology != endpoint.Sentinel {
		return x.conn.Endpoint.Addrs[0]
	}
	for _, a := range x.conn.AskSentinels(ctx) {
		if a.Primary != "" {
			return a.Primary
		}
	}
	return c.Options().Addr
}

// checkServers reads all primaries at once, and checks each.
func (x *examination) checkServers(ctx context.Context) {
	addrs := make([]string, 0, len(x.primaries))
	for addr := range x.primaries {
		addrs = append(addrs, addr)
	}
	slices.Sort(addrs)
	all := make([]serverInfo, len(addrs))
	var reading sync.WaitGroup
	for i, addr := range addrs {
		reading.Go(func() { all[i] = readServer(ctx, x.primaries[addr], addr, x.opt.Timeout) })
	}
	reading.Wait()
	for i := range all {
		x.checkServer(&all[i])
	}
}

// checkServer runs the checks of one server, if it answers.
func (x *examination) checkServer(s *serverInfo) {
	if s.infoErr != nil && errors.Is(rediserr.Explain(s.infoErr), streams.ErrUnavailable) {
		x.report.addFor(s.addr, Problem, "connection", rediserr.OneLine(s.infoErr), "The rooms of its partitions are unavailable.", "Start it, or check the network between it and the nodes.")
		return
	}
	x.servers = append(x.servers, *s)
	for _, check := range serverChecks {
		for _, found := range check(s, x.conn.Endpoint.Topology) {
			found.Server = s.addr
			x.report.Findings = append(x.report.Findings, found)
		}
	}
}

// checkDurability reports the levels that all primaries can give.
func (x *examination) checkDurability() {
	const about = "durability"
	needs := x.opt.Replicas
	replicated, fsynced := "yes", "yes"
	for i := range x.servers {
		s := &x.servers[i]
		if s.info == nil {
			replicated, fsynced = "unknown", "unknown"
			break
		}
		if n := s.inStep(); n < needs {
			replicated = fmt.Sprintf("no (%s has %d of %d replicas in step)", s.addr, n, needs)
		}
		if ok, _ := s.atLeast(7, 2); !ok {
			fsynced = "no (needs Redis 7.2)"
		} else if s.info["aof_enabled"] != "1" {
			fsynced = "no (needs appendonly yes)"
		}
	}
	read := fmt.Sprintf("logged: yes; replicated: %s; fsynced: %s", replicated, fsynced)
	switch want := x.opt.Durability; {
	case want == streams.Replicated && strings.HasPrefix(replicated, "no"):
		x.report.add(Problem, about, read, "Publishes ask for replicated and are answered with 503.", "Bring up replicas, or choose another --durability.")
	case want == streams.Fsynced && strings.HasPrefix(fsynced, "no"):
		x.report.add(Problem, about, read, "Nodes with the durability fsynced do not start.", "Choose another --durability, or change Redis.")
	default:
		x.report.add(OK, about, read, "", "")
	}
}

// compareClocks compares the clocks of the primaries with each other.
func (x *examination) compareClocks() {
	var slowest, fastest *serverInfo
	for i := range x.servers {
		s := &x.servers[i]
		if s.clockErr != nil {
			continue
		}
		if slowest == nil || s.ahead < slowest.ahead {
			slowest = s
		}
		if fastest == nil || s.ahead > fastest.ahead {
			fastest = s
		}
	}
	if slowest == nil {
		return
	}
	difference := fastest.ahead - slowest.ahead
	if difference <= maxSkew+slowest.slack+fastest.slack {
		return
	}
	x.report.add(Warning, "clocks", fmt.Sprintf("%s is %v ahead of %s", fastest.addr, difference.Round(time.Millisecond), slowest.addr),
		"Events of the same moment in different partitions carry different times. A client that follows several rooms from a given time gets more of some rooms than of others.",
		"Run NTP on all of them.")
}
