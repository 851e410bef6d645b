// Package doctor checks a Redis deployment for settings that can lose events or hurt
// clients: persistence, eviction, memory, replicas and failover, buffers, clocks and
// permissions. It also looks at the log in it. It changes nothing.
package doctor

import (
	"context"

	"github.com/tidemark/tidemark/streams/redislog"
	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
)

// examineFactor bounds the duration of Examine, in multiples of the limit for one call.
const examineFactor = 10

// Examine checks the Redis that opt describes, as a node with these options would find it.
// In a Cluster it checks every primary.
//
// A Redis that cannot be reached or that rejects the user is a finding. An error means
// that opt is invalid. Examine returns within 10 times opt.Timeout.
func Examine(ctx context.Context, opt redislog.Options) (Report, error) {
	opt, conn, err := opt.Resolve()
	if err != nil {
		return Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, examineFactor*opt.Timeout)
	defer cancel()
	x := newExamination(opt, conn)
	defer x.client.Close()
	x.run(ctx)
	x.report.sort()
	return x.report, nil
}

func (x *examination) run(ctx context.Context) {
	topology := x.conn.Endpoint.Topology
	if topology == endpoint.Sentinel {
		x.checkSentinels(ctx)
	}
	if !x.checkConnection(ctx) {
		return
	}
	x.findPrimaries(ctx)
	x.checkPermissions(ctx)
	x.checkServers(ctx)
	x.checkDurability()
	if topology == endpoint.Cluster {
		x.checkSlots(ctx)
		x.compareClocks()
	}
	x.checkLog(ctx)
	x.countRooms(ctx)
}
