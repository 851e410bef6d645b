package redislog

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
)

// examineFactor bounds the whole of Examine, in time limits of one call.
const examineFactor = 10

// Examine looks at the Redis that opt describes, as a node with these options would
// find it, and reports what can be lost and what will hurt. It changes nothing. Of a
// Cluster it looks at every master.
//
// A Redis that can't be reached or refuses this user is a finding; an error means
// that opt makes no sense. Examine returns within examineFactor times opt.Timeout.
func Examine(ctx context.Context, opt Options) (Report, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return Report{}, fmt.Errorf("redis log: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, examineFactor*opt.Timeout)
	defer cancel()
	x := newExamination(opt)
	defer x.log.client.Close()
	x.run(ctx)
	x.report.sort()
	return x.report, nil
}

// An examination is one run of Examine.
type examination struct {
	log    *Log // never opened, so that nothing is created in Redis
	report Report

	masters map[string]*redis.Client // by host:port
	facts   []facts                  // of the masters that answer
}

func newExamination(opt Options) *examination {
	l := &Log{opt: opt, client: connect(opt)}
	for p := range opt.Partitions {
		l.addPartition(newPartition(opt.Prefix, streams.Partition(p)).inDatabase(opt.place.db))
	}
	return &examination{log: l, masters: map[string]*redis.Client{}}
}

func (x *examination) run(ctx context.Context) {
	if x.log.opt.place.shape == sentinel {
		x.sentinels(ctx)
	}
	if !x.reach(ctx) {
		return
	}
	x.findMasters(ctx)
	x.permissions(ctx)
	x.servers(ctx)
	x.durability()
	if x.log.opt.place.shape == cluster {
		x.slots(ctx)
		x.clocks()
	}
	x.state(ctx)
	x.rooms(ctx)
}

// reach reports whether Redis answers and is of the URL's shape: else there is
// nothing more to ask.
func (x *examination) reach(ctx context.Context) bool {
	const about = "connection"
	to := x.log.opt.place
	where := strings.Join(to.addrs, ", ")
	if to.user != "" {
		where += " as user " + to.user
	}
	var err error
	for _, p := range x.log.partitions {
		_, err = ask(ctx, x.log.opt.Timeout, func(ctx context.Context) (any, error) { return nil, x.log.fits(ctx, p) })
		if err == nil || permanent(err) || to.shape != cluster {
			break // in a Cluster another partition may be on a node that answers
		}
	}
	switch {
	case err == nil:
		x.report.add(one(OK, about, where, "", "")...)
	case permanent(err):
		x.report.add(one(Problem, about, where+": "+oneLine(err), "Nodes do not start with these settings.", "Put the URL, the user or the certificates in order (docs/redis.md).")...)
	default:
		x.report.add(one(Problem, about, where+": "+oneLine(err), "Nodes wait until it answers, and are not ready.", "Start Redis, or look at the network between.")...)
	}
	return err == nil
}

// oneLine puts the lines of joined errors into one.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// findMasters lists the servers that take writes.
func (x *examination) findMasters(ctx context.Context) {
	nodes, ok := x.log.client.(*redis.ClusterClient)
	if !ok {
		c := x.log.client.(*redis.Client)
		x.masters[x.addrOf(ctx, c)] = c
		return
	}
	var mu sync.Mutex // guards x.masters, which the client calls back about at once
	_, err := ask(ctx, x.log.opt.Timeout, func(ctx context.Context) (any, error) {
		return nil, nodes.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			x.masters[c.Options().Addr] = c
			return nil
		})
	})
	if err != nil {
		x.report.add(one(Problem, "cluster", "its masters: "+oneLine(err), "Nodes cannot tell where to write.", "Look at CLUSTER INFO and CLUSTER NODES.")...)
	}
}

// addrOf names the one server, which with Sentinel is not in the URL.
func (x *examination) addrOf(ctx context.Context, c *redis.Client) string {
	if x.log.opt.place.shape != sentinel {
		return x.log.opt.place.addrs[0]
	}
	for _, a := range askSentinels(ctx, x.log.opt) {
		if a.master != "" {
			return a.master
		}
	}
	return c.Options().Addr
}

// permissions asks the node of each partition whether this user may do what nodes do.
func (x *examination) permissions(ctx context.Context) {
	const about = "permissions"
	seen := map[string]bool{}
	for _, p := range x.log.partitions {
		_, err := ask(ctx, x.log.opt.Timeout, func(ctx context.Context) (any, error) { return nil, x.log.allowed(ctx, p) })
		if err == nil || seen[err.Error()] {
			continue
		}
		seen[err.Error()] = true
		if permanent(err) {
			x.report.add(one(Problem, about, oneLine(err), "Nodes do not start as this user.", "Give the user the rule in docs/redis.md.")...)
		} else {
			x.report.add(one(Problem, about, fmt.Sprintf("partition %d: %s", p.id, oneLine(err)), "Its part of the log cannot be used now.", "Look at the server that has it.")...)
		}
	}
	if len(seen) == 0 {
		x.report.add(one(OK, about, "all that the log needs", "", "")...)
	}
}

// servers asks all masters at once, and judges each.
func (x *examination) servers(ctx context.Context) {
	addrs := make([]string, 0, len(x.masters))
	for addr := range x.masters {
		addrs = append(addrs, addr)
	}
	slices.Sort(addrs)
	all := make([]facts, len(addrs))
	var asking sync.WaitGroup
	for i, addr := range addrs {
		asking.Go(func() { all[i] = learn(ctx, x.masters[addr], addr, x.log.opt.Timeout) })
	}
	asking.Wait()
	for i := range all {
		x.judge(&all[i])
	}
}

// judge applies the rules to a server that answers.
func (x *examination) judge(f *facts) {
	if f.infoErr != nil && errors.Is(explain(f.infoErr), streams.ErrUnavailable) {
		x.report.add(Finding{Problem, f.addr, "connection", oneLine(f.infoErr), "Its part of the log cannot be used.", "Start it, or look at the network between."})
		return
	}
	x.facts = append(x.facts, *f)
	for _, rule := range serverRules {
		for _, found := range rule(f, x.log.opt.place.shape) {
			found.Server = f.addr
			x.report.add(found)
		}
	}
}

// durability says which levels all masters can give.
func (x *examination) durability() {
	needs := x.log.opt.Replicas
	replicated, fsynced := "yes", "yes"
	for i := range x.facts {
		f := &x.facts[i]
		if f.info == nil {
			replicated, fsynced = "unknown", "unknown"
			break
		}
		if n := f.inStep(); n < needs {
			replicated = fmt.Sprintf("no (%s has %d of %d replicas in step)", f.addr, n, needs)
		}
		if ok, _ := f.since(7, 2); !ok {
			fsynced = "no (needs Redis 7.2)"
		} else if f.info["aof_enabled"] != "1" {
			fsynced = "no (needs appendonly yes)"
		}
	}
	read := fmt.Sprintf("logged: yes; replicated: %s; fsynced: %s", replicated, fsynced)
	want := x.log.opt.Durability
	switch {
	case want == streams.Replicated && strings.HasPrefix(replicated, "no"):
		x.report.add(one(Problem, "durability", read, "Publishes ask for replicated, and are answered with 503.", "Bring up replicas, or choose another --durability.")...)
	case want == streams.Fsynced && strings.HasPrefix(fsynced, "no"):
		x.report.add(one(Problem, "durability", read, "Nodes with the durability fsynced do not start.", "Choose another --durability, or change Redis.")...)
	default:
		x.report.add(one(OK, "durability", read, "", "")...)
	}
}

// clocks compares those of the masters with each other.
func (x *examination) clocks() {
	var first, last *facts
	for i := range x.facts {
		f := &x.facts[i]
		if f.clockErr != nil {
			continue
		}
		if first == nil || f.ahead < first.ahead {
			first = f
		}
		if last == nil || f.ahead > last.ahead {
			last = f
		}
	}
	if first == nil || last.ahead-first.ahead <= maxSkew+first.slack+last.slack {
		return
	}
	x.report.add(one(Warning, "clocks", fmt.Sprintf("%s is %v ahead of %s", last.addr, (last.ahead-first.ahead).Round(time.Millisecond), first.addr),
		"Events of rooms in different partitions carry different times for one moment: following several rooms since a time gives more of some than of others.",
		"Run NTP on all of them.")...)
}
