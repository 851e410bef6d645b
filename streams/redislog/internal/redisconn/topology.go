package redisconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// CheckTopology asks the node that has key whether it answers and has the URL's topology.
// If it has another one, the error is ErrSettings. A node of a Cluster may well accept the
// writes of a plain client, until their slot moves.
//
// It asks only the node of this key, because others may be down.
func (c *Config) CheckTopology(ctx context.Context, client redis.UniversalClient, key string) error {
	node, err := Primary(ctx, client, key)
	if err != nil {
		return c.diagnose(ctx, err)
	}
	hello, err := greet(ctx, node)
	if err != nil {
		return c.diagnose(ctx, err)
	}
	return c.checkMode(hello["mode"])
}

// checkMode compares the mode in a server's greeting with the URL's topology.
func (c *Config) checkMode(mode string) error {
	want := ""
	switch e := &c.Endpoint; {
	case mode == "sentinel":
		want = e.Scheme("+sentinel") + "://host:port/0?master_name=…: it is a Sentinel"
	case mode == "cluster" && e.Topology != endpoint.Cluster:
		want = e.Scheme("+cluster") + "://: it is a node of a cluster"
	case mode == "standalone" && e.Topology == endpoint.Cluster:
		want = e.Scheme("") + "://: it is no cluster"
	default:
		return nil
	}
	return fmt.Errorf("%w: the URL must start with %s", rediserr.ErrSettings, want)
}

// diagnose explains why a server did not answer a greeting.
func (c *Config) diagnose(ctx context.Context, err error) error {
	switch topology := c.Endpoint.Topology; {
	case topology == endpoint.Cluster && strings.Contains(err.Error(), "cluster support disabled"):
		return c.checkMode("standalone")
	case topology == endpoint.Cluster && rediserr.UnknownCommand(err, "cluster"):
		return c.checkMode("sentinel")
	case topology == endpoint.Sentinel:
		if why := permanentRefusal(c.AskSentinels(ctx)); why != nil {
			return why
		}
	}
	if answer := redis.Error(nil); !errors.As(err, &answer) && !rediserr.RejectedByTLS(err) {
		return cmp.Or(c.diagnoseTLS(ctx), rediserr.Explain(err))
	}
	return rediserr.AtStart(err)
}
