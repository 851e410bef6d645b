// Package redisconn connects to the Redis of an endpoint, and finds out why a connection
// does not work.
package redisconn

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// WaitFactor is how much longer than other calls an append may take that waits for
// replicas or the disk. With appendfsync everysec Redis syncs once a second, and delays
// that by up to two more seconds while the disk is busy.
const WaitFactor = 2

// Config says how to connect. All fields but Certificates must be set.
type Config struct {
	Endpoint     endpoint.Endpoint
	Certificates *tls.Config // nil without TLS

	Timeout     time.Duration // limit for one call
	DialTimeout time.Duration // limit for one attempt to connect
}

// NewClient returns a client of the endpoint's Redis. It does not connect yet.
func (c *Config) NewClient() redis.UniversalClient {
	u := c.universal()
	switch c.Endpoint.Topology {
	case endpoint.Cluster:
		return redis.NewClusterClient(u.Cluster())
	case endpoint.Sentinel:
		return redis.NewFailoverClient(u.Failover())
	}
	simple := u.Simple()
	if c.Endpoint.Topology == endpoint.Socket {
		simple.Network = "unix"
	}
	return redis.NewClient(simple)
}

// NewSentinelClient returns a client of one Sentinel.
func (c *Config) NewSentinelClient(addr string) *redis.SentinelClient {
	u := c.universal()
	u.Addrs, u.DB, u.MinIdleConns = []string{addr}, 0, 0
	u.Username, u.Password = u.SentinelUsername, u.SentinelPassword
	return redis.NewSentinelClient(u.Simple())
}

// universal returns the client's settings. The log's promises depend on some of them.
func (c *Config) universal() *redis.UniversalOptions {
	e := &c.Endpoint
	return &redis.UniversalOptions{
		Addrs: e.Addrs, MasterName: e.PrimaryName, DB: e.DB, ClientName: e.ClientName,
		Username: e.User, Password: e.Password,
		SentinelUsername: e.SentinelUser, SentinelPassword: e.SentinelPassword,
		Dialer: NewDialer(c.DialTimeout, c.Certificates),

		// RESP3 has no use here, and it has costs. The client would look for push messages
		// around every reply. On every new connection it would subscribe to maintenance
		// notices and introduce itself.
		Protocol: 2, DisableIdentity: true,

		// A repeated append is stored twice, unless it has a key.
		MaxRetries: -1, DialerRetries: 1,

		DialTimeout:  c.DialTimeout,
		ReadTimeout:  WaitFactor * c.Timeout, // each call has its own deadline
		WriteTimeout: c.Timeout, PoolTimeout: c.Timeout,
		ContextTimeoutEnabled: true,

		PoolSize: e.PoolSize, MinIdleConns: e.MinIdle,
		ConnMaxIdleTime: e.MaxIdleTime, ConnMaxLifetime: e.MaxLifetime,
	}
}

// Primary returns a client of the node that takes the writes for key, as far as known.
func Primary(ctx context.Context, client redis.UniversalClient, key string) (*redis.Client, error) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return client.(*redis.Client), nil
}

// greet returns the server's description of itself. Every user may run HELLO. A server
// that does not know the command, such as Redis before 6.0, gives an empty description.
func greet(ctx context.Context, c *redis.Client) (map[string]string, error) {
	reply, err := c.Do(ctx, "hello").Slice()
	if rediserr.UnknownCommand(err, "hello") {
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
