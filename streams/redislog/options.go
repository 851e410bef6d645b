package redislog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

const (
	defaultPrefix  = "tidemark"
	defaultTimeout = 3 * time.Second
)

// Options says which Redis and how to use it. URL is needed; the zero value of
// the others means the default.
type Options struct {
	// URL is one of
	//
	//	redis://user:password@host:port/db     rediss:// for TLS
	//	unix:///path/to/redis.sock
	//	redis+cluster://host:port?addr=host2:port2
	//	redis+sentinel://host:port?master_name=name&addr=host2:port2
	//
	// with go-redis's settings as parameters. It is a URL and not a client, for
	// what is promised here hangs on the client's settings: above all that it
	// never repeats a write by itself.
	URL string

	Partitions int           // of the log, fixed when it is created; 0 means 1
	Prefix     string        // of all keys and channels, so that deployments can share a Redis; "" means "tidemark"
	KeyLife    time.Duration // of idempotency keys; 0 means streams.DefaultKeyLife
	TailLife   time.Duration // of tail records, after their events; 0 means streams.DefaultTailLife
	Timeout    time.Duration // limit for one call; 0 means 3s
	Logger     *slog.Logger  // nil means slog.Default()

	// Durability of the drafts that ask for none; 0 means Logged. Fsynced needs
	// Redis 7.2 with appendonly on.
	Durability streams.Durability
	Replicas   int // that Replicated waits for; 0 means 1
}

func (o Options) withDefaults() (Options, error) {
	o.Partitions = orDefault(o.Partitions, 1)
	o.Prefix = orDefault(o.Prefix, defaultPrefix)
	o.KeyLife = orDefault(o.KeyLife, streams.DefaultKeyLife)
	o.TailLife = orDefault(o.TailLife, streams.DefaultTailLife)
	o.Timeout = orDefault(o.Timeout, defaultTimeout)
	o.Logger = orDefault(o.Logger, slog.Default())
	o.Durability = orDefault(o.Durability, streams.Logged)
	o.Replicas = orDefault(o.Replicas, 1)
	switch {
	case o.Partitions < 1 || o.Partitions > 1<<16:
		return o, fmt.Errorf("%d partitions, want 1 to %d", o.Partitions, 1<<16)
	case strings.ContainsAny(o.Prefix, "{}"):
		return o, fmt.Errorf("prefix %q: braces would move keys to another hash slot", o.Prefix)
	case o.KeyLife < time.Millisecond || o.TailLife < time.Millisecond || o.Timeout < time.Millisecond:
		return o, errors.New("key life, tail life and timeout: at least a millisecond")
	case o.Replicas < 1:
		return o, fmt.Errorf("%d replicas to wait for, want 1 or more", o.Replicas)
	}
	return o, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// connect returns a client for o.URL. It does not talk to Redis yet.
func connect(o Options) (redis.UniversalClient, error) {
	scheme, rest, _ := strings.Cut(o.URL, "://")
	plain, kind, _ := strings.Cut(scheme, "+")
	switch kind {
	case "cluster":
		opt, err := redis.ParseClusterURL(plain + "://" + rest)
		if err != nil {
			return nil, err
		}
		return redis.NewClusterClient(tuneCluster(opt, o.Timeout)), nil
	case "sentinel":
		opt, err := redis.ParseFailoverURL(plain + "://" + rest)
		if err != nil {
			return nil, err
		}
		return redis.NewFailoverClient(tuneSentinel(opt, o.Timeout)), nil
	default:
		opt, err := redis.ParseURL(o.URL)
		if err != nil {
			return nil, err
		}
		return redis.NewClient(tune(opt, o.Timeout)), nil
	}
}

// settings are the fields that go-redis's three kinds of options have in common.
type settings struct {
	protocol, maxRetries, dialerRetries *int
	noIdentity, contextTimeouts         *bool
	dial, read, write, pool             *time.Duration
	dialer                              *func(context.Context, string, string) (net.Conn, error)
	tls                                 *tls.Config
}

// tune sets what the promises hang on, over what the URL says.
func (s settings) tune(timeout time.Duration) {
	// Nothing here needs RESP3: the client would look for push messages around
	// every reply, and ask for maintenance notices and introduce itself on every
	// new connection.
	*s.protocol, *s.noIdentity = 2, true

	// A repeated append is stored twice, unless it has a key.
	*s.maxRetries, *s.dialerRetries = -1, 1

	// An append may dial twice: for its own pool, and then for the common one.
	*s.dial = timeout / 2
	*s.write, *s.pool = timeout, timeout
	*s.read = waitingFactor * timeout // each call has a deadline of its own
	*s.contextTimeouts = true

	*s.dialer = dialOnce(*s.dial, s.tls)
}

func tune(o *redis.Options, timeout time.Duration) *redis.Options {
	settings{
		&o.Protocol, &o.MaxRetries, &o.DialerRetries, &o.DisableIdentity, &o.ContextTimeoutEnabled,
		&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.PoolTimeout,
		&o.Dialer, o.TLSConfig,
	}.tune(timeout)
	return o
}

func tuneCluster(o *redis.ClusterOptions, timeout time.Duration) *redis.ClusterOptions {
	settings{
		&o.Protocol, &o.MaxRetries, &o.DialerRetries, &o.DisableIdentity, &o.ContextTimeoutEnabled,
		&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.PoolTimeout,
		&o.Dialer, o.TLSConfig,
	}.tune(timeout)
	return o
}

func tuneSentinel(o *redis.FailoverOptions, timeout time.Duration) *redis.FailoverOptions {
	settings{
		&o.Protocol, &o.MaxRetries, &o.DialerRetries, &o.DisableIdentity, &o.ContextTimeoutEnabled,
		&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout, &o.PoolTimeout,
		&o.Dialer, o.TLSConfig,
	}.tune(timeout)
	return o
}

// settled marks the context of a subscription that has its connection.
type settled struct{}

var errSettled = errors.New("the subscription has lost its connection")

// dialOnce is the client's dialer. It does not dial for a settled subscription:
// go-redis would reconnect and subscribe again by itself, and what was published
// meanwhile would be a hole that nobody has told of.
func dialOnce(timeout time.Duration, tls *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	dial := redis.NewDialer(&redis.Options{DialTimeout: timeout, TLSConfig: tls})
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(settled{}) != nil {
			return nil, errSettled
		}
		return dial(ctx, network, addr)
	}
}
