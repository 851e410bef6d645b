package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
	"github.com/tidemark/tidemark/streams/redislog/internal/permissions"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// checkConnection reports whether Redis answers and has the URL's topology. Otherwise no
// further check is possible.
func (x *examination) checkConnection(ctx context.Context) bool {
	const about = "connection"
	to := x.conn.Endpoint
	where := strings.Join(to.Addrs, ", ")
	if to.User != "" {
		where += " as user " + to.User
	}
	var err error
	for i := range x.partitions {
		_, err = ask(ctx, x.opt.Timeout, func(ctx context.Context) (any, error) {
			return nil, x.conn.CheckTopology(ctx, x.client, x.partitions[i].Clock())
		})
		if err == nil || rediserr.Permanent(err) || to.Topology != endpoint.Cluster {
			break // in a Cluster, another partition may be on a node that answers
		}
	}
	switch {
	case err == nil:
		x.report.add(OK, about, where, "", "")
	case rediserr.Permanent(err):
		x.report.add(Problem, about, where+": "+rediserr.OneLine(err), "Nodes do not start with these settings.", "Correct the URL, the user or the certificates (docs/redis.md).")
	default:
		x.report.add(Problem, about, where+": "+rediserr.OneLine(err), "Nodes are not ready until Redis answers.", "Start Redis, or check the network between it and the nodes.")
	}
	return err == nil
}

// checkPermissions asks the node of each partition whether the user may run the commands
// of a node.
func (x *examination) checkPermissions(ctx context.Context) {
	const about = "permissions"
	seen := map[string]bool{}
	for i := range x.partitions {
		p := &x.partitions[i]
		_, err := ask(ctx, x.opt.Timeout, func(ctx context.Context) (any, error) {
			return nil, permissions.Check(ctx, x.client, p, x.opt.Durability, x.opt.RequiredCommands)
		})
		if err == nil || seen[err.Error()] {
			continue
		}
		seen[err.Error()] = true
		if rediserr.Permanent(err) {
			x.report.add(Problem, about, rediserr.OneLine(err), "Nodes do not start as this user.", "Give the user the ACL rule in docs/redis.md.")
		} else {
			x.report.add(Problem, about, fmt.Sprintf("partition %d: %s", p.ID, rediserr.OneLine(err)), "The rooms of this partition are unavailable now.", "Check the server that has the partition.")
		}
	}
	if len(seen) == 0 {
		x.report.add(OK, about, "all that the log needs", "", "")
	}
}
