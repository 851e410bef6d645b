package main

import (
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
)

// redisFlags say which Redis to use, and how. The commands that talk to it have
// them in common.
type redisFlags struct {
	Redis             string             `placeholder:"URL" group:"redis" help:"Keep the log in Redis 7, shared by any number of nodes: redis://…, unix://…, redis+sentinel://…?master_name=…, redis+cluster://…, with rediss for TLS. docs/redis.md has examples."`
	RedisPasswordFile string             `placeholder:"FILE" group:"redis" help:"File with Redis's password, in place of the URL."`
	SentinelPassword  string             `name:"redis-sentinel-password-file" placeholder:"FILE" group:"redis" help:"File with the Sentinels' password."`
	RedisCA           string             `name:"redis-ca" placeholder:"FILE" group:"redis" help:"TLS: authority that signed Redis's certificate, PEM (default: the system's)."`
	RedisCert         string             `placeholder:"FILE" group:"redis" help:"TLS: certificate of this node, PEM."`
	RedisKey          string             `placeholder:"FILE" group:"redis" help:"TLS: its key, PEM."`
	RedisServerName   string             `placeholder:"NAME" group:"redis" help:"TLS: name in Redis's certificate (default: the host that is dialled)."`
	RedisTimeout      time.Duration      `default:"3s" placeholder:"TIME" group:"redis" help:"Limit for one call to Redis, all in all (default ${default})."`
	RedisDialTimeout  time.Duration      `placeholder:"TIME" group:"redis" help:"Limit for one attempt to connect, within it (default: half of it)."`
	RedisPrefix       string             `default:"tidemark" placeholder:"NAME" group:"redis" help:"Start of all keys and channels (default ${default})."`
	Partitions        int                `placeholder:"N" group:"redis" help:"Partitions of the log, fixed when it is created (default: 1, in a cluster 16)."`
	Durability        streams.Durability `default:"logged" placeholder:"LEVEL" group:"redis" help:"How safe an event is when its publish is answered, unless the publish says: logged, replicated (on --redis-replicas replicas) or fsynced (Redis 7.2 with appendonly). The embedded log is always fsynced. (default ${default})"`
	RedisReplicas     int                `default:"1" placeholder:"N" group:"redis" help:"Replicas that 'replicated' waits for (default ${default})."`
}

// check refuses settings for a Redis that is not named: a node that quietly kept
// its log on its own disk would look as if they were in force.
func (f *redisFlags) check() error {
	for _, flag := range []struct{ name, value string }{
		{"redis-password-file", f.RedisPasswordFile},
		{"redis-sentinel-password-file", f.SentinelPassword},
		{"redis-ca", f.RedisCA}, {"redis-cert", f.RedisCert}, {"redis-key", f.RedisKey}, {"redis-server-name", f.RedisServerName},
	} {
		if f.Redis == "" && flag.value != "" {
			return usageError("--" + flag.name + " is given, and --redis is not")
		}
	}
	return nil
}

func (f *redisFlags) options() redislog.Options {
	return redislog.Options{
		URL: f.Redis, PasswordFile: f.RedisPasswordFile, SentinelPasswordFile: f.SentinelPassword,
		TLS:     redislog.TLS{CAFile: f.RedisCA, CertFile: f.RedisCert, KeyFile: f.RedisKey, ServerName: f.RedisServerName},
		Timeout: f.RedisTimeout, DialTimeout: f.RedisDialTimeout,
		Prefix: f.RedisPrefix, Partitions: f.Partitions,
		Durability: f.Durability, Replicas: f.RedisReplicas,
	}
}
