package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// A SentinelAnswer is one Sentinel's answer to the question where the primary is.
type SentinelAnswer struct {
	Addr    string // of the Sentinel
	Primary string // host:port
	Err     error
}

// AskSentinels asks all Sentinels of the URL at once where the primary is.
func (c *Config) AskSentinels(ctx context.Context) []SentinelAnswer {
	answers := make([]SentinelAnswer, len(c.Endpoint.Addrs))
	var asking sync.WaitGroup
	for i, addr := range c.Endpoint.Addrs {
		asking.Go(func() { answers[i] = c.askSentinel(ctx, addr) })
	}
	asking.Wait()
	return answers
}

func (c *Config) askSentinel(ctx context.Context, addr string) SentinelAnswer {
	client := c.NewSentinelClient(addr)
	defer client.Close()
	name := c.Endpoint.PrimaryName
	at, err := client.GetMasterAddrByName(ctx, name).Result()
	switch {
	case errors.Is(err, redis.Nil):
		err = fmt.Errorf("%w: the Sentinel %s knows no master named %q: correct master_name in the URL", rediserr.ErrSettings, addr, name)
	case rediserr.UnknownCommand(err, "sentinel"):
		err = fmt.Errorf("%w: %s is no Sentinel: the URL must start with %s:// or %s://", rediserr.ErrSettings, addr,
			c.Endpoint.Scheme(""), c.Endpoint.Scheme("+cluster"))
	case err != nil:
		err = fmt.Errorf("the Sentinel %s: %w", addr, rediserr.AtStart(err))
	case len(at) == 2:
		return SentinelAnswer{Addr: addr, Primary: net.JoinHostPort(at[0], at[1])}
	}
	return SentinelAnswer{Addr: addr, Err: err}
}

// permanentRefusal returns an error if all Sentinels of the URL return an error that does
// not go away by waiting. An example is an unknown name of the primary.
//
// One Sentinel that is unreachable or starting leaves a doubt. A Sentinel reads its
// primaries from its file before it answers. But some deployments configure running
// Sentinels one after the other. A node that starts in that moment exits and is started
// again.
func permanentRefusal(answers []SentinelAnswer) error {
	for _, a := range answers {
		if a.Err == nil || !rediserr.Permanent(a.Err) {
			return nil
		}
	}
	return answers[0].Err
}
