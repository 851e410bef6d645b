package redislog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// admit checks a partition before its first use: is its Redis of the URL's shape,
// may the user do all that the log does, and is there a clock that fits? What it
// finds wrong now would else show at the first event, or never: a feed that may not
// subscribe only waits.
func (l *Log) admit(ctx context.Context, p *partition) error {
	if err := l.fits(ctx, p); err != nil {
		return err
	}
	if err := l.allowed(ctx, p); err != nil {
		return fmt.Errorf("partition %d: %w", p.id, err)
	}
	return l.create(ctx, p)
}

// fits returns ErrSettings if the Redis is of another shape than the URL's. A node
// of a Cluster may well take a plain client's writes, until their slot moves. The one
// that is asked is the partition's own: others may be down.
func (l *Log) fits(ctx context.Context, p *partition) error {
	node, err := l.master(ctx, p)
	if err != nil {
		return l.misfit(ctx, err)
	}
	hello, err := greet(ctx, node)
	if err != nil {
		return l.misfit(ctx, err)
	}
	return l.opt.place.suits(hello["mode"])
}

// greet returns what the server says of itself. Every user may HELLO. An empty
// answer comes from what does not know the command, such as a Redis before 6.0.
func greet(ctx context.Context, c *redis.Client) (map[string]string, error) {
	reply, err := c.Do(ctx, "hello").Slice()
	if unknownCommand(err, "hello") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hello := make(map[string]string, len(reply)/2)
	for i := 0; i+1 < len(reply); i += 2 {
		name, _ := reply[i].(string)
		hello[name] = fmt.Sprint(reply[i+1])
	}
	return hello, nil
}

// unknownCommand reports whether err says that there is no such command.
func unknownCommand(err error, name string) bool {
	if err == nil {
		return false
	}
	text := strings.ToLower(err.Error())
	return strings.HasPrefix(text, "err unknown command") && strings.Contains(text, name)
}

// suits compares the mode that a server says it is in with the URL's shape.
func (to place) suits(mode string) error {
	want := ""
	switch {
	case mode == "sentinel":
		want = to.scheme("+sentinel") + "://host:port/0?master_name=…: it is a Sentinel"
	case mode == "cluster" && to.shape != cluster:
		want = to.scheme("+cluster") + "://: it is a node of a cluster"
	case mode == "standalone" && to.shape == cluster:
		want = to.scheme("") + "://: it is no cluster"
	default:
		return nil
	}
	return fmt.Errorf("%w: the URL has to be %s", ErrSettings, want)
}

// scheme returns the scheme of a shape, with TLS if this URL's is.
func (to place) scheme(shape string) string {
	if to.tls {
		return "rediss" + shape
	}
	return "redis" + shape
}

// misfit explains why not even a greeting came back.
func (l *Log) misfit(ctx context.Context, err error) error {
	to := l.opt.place
	switch {
	case to.shape == cluster && strings.Contains(err.Error(), "cluster support disabled"):
		return to.suits("standalone")
	case to.shape == cluster && unknownCommand(err, "cluster"):
		return to.suits("sentinel")
	case to.shape == sentinel:
		if why := verdict(askSentinels(ctx, l.opt)); why != nil {
			return why
		}
	}
	if answer := redis.Error(nil); !errors.As(err, &answer) && !refusedByTLS(err) {
		return cmp.Or(probe(ctx, l.opt), l.explain(err))
	}
	return notLetIn(err)
}

// notLetIn is explain for what comes before the first event: a user who is not let in
// is a matter of settings.
func notLetIn(err error) error {
	if !errors.Is(err, ErrSettings) && permanent(err) {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return explain(err)
}

// A sentinelAnswer is what one Sentinel says of the master.
type sentinelAnswer struct {
	addr   string
	master string // host:port
	err    error
}

// askSentinels asks the Sentinels of the URL, all at once, where the master is.
func askSentinels(ctx context.Context, o Options) []sentinelAnswer {
	answers := make([]sentinelAnswer, len(o.place.addrs))
	var asking sync.WaitGroup
	for i, addr := range o.place.addrs {
		asking.Go(func() { answers[i] = askSentinel(ctx, o, addr) })
	}
	asking.Wait()
	return answers
}

// sentinelClient returns a client of one Sentinel.
func (o Options) sentinelClient(addr string) *redis.SentinelClient {
	u := o.universal()
	u.Addrs, u.DB, u.MinIdleConns = []string{addr}, 0, 0
	u.Username, u.Password = u.SentinelUsername, u.SentinelPassword
	return redis.NewSentinelClient(u.Simple())
}

func askSentinel(ctx context.Context, o Options, addr string) sentinelAnswer {
	c := o.sentinelClient(addr)
	defer c.Close()
	at, err := c.GetMasterAddrByName(ctx, o.place.master).Result()
	switch {
	case errors.Is(err, redis.Nil):
		err = fmt.Errorf("%w: the Sentinel %s knows no master named %q: see master_name in the URL", ErrSettings, addr, o.place.master)
	case unknownCommand(err, "sentinel"):
		err = fmt.Errorf("%w: %s is no Sentinel: the URL has to be %s:// or %s://", ErrSettings, addr,
			o.place.scheme(""), o.place.scheme("+cluster"))
	case err != nil:
		err = fmt.Errorf("the Sentinel %s: %w", addr, notLetIn(err))
	case len(at) == 2:
		return sentinelAnswer{addr: addr, master: net.JoinHostPort(at[0], at[1])}
	}
	return sentinelAnswer{addr: addr, err: err}
}

// verdict returns an error if every Sentinel of the URL says something that waiting
// would not mend, such as that it knows no master of that name. One that can't be
// reached, or is only starting, leaves a doubt: a Sentinel reads its masters from
// its file before it answers, but some deployments name them to running Sentinels,
// to one after the other. Who starts within that moment exits, and is started again.
func verdict(answers []sentinelAnswer) error {
	for _, a := range answers {
		if a.err == nil || !permanent(a.err) {
			return nil
		}
	}
	return answers[0].err
}
