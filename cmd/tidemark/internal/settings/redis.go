package settings

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
)

// RedisFlags select a Redis deployment. The commands that connect to Redis share them.
type RedisFlags struct {
	Redis             string             `placeholder:"URL" group:"redis" help:"Keep the event log in Redis 7.0 or later, which any number of nodes can share. Forms: redis://…, unix://…, redis+sentinel://…?master_name=…, redis+cluster://…; rediss instead of redis for TLS. See docs/redis.md for examples."`
	RedisPasswordFile string             `placeholder:"FILE" group:"redis" help:"File with the Redis password, instead of a password in the URL."`
	SentinelPassword  string             `name:"redis-sentinel-password-file" placeholder:"FILE" group:"redis" help:"File with the password of the Sentinels."`
	RedisCA           string             `name:"redis-ca" placeholder:"FILE" group:"redis" help:"TLS: PEM file with the certificate authority that signed the Redis certificate (default: the authorities of the system)."`
	RedisCert         string             `placeholder:"FILE" group:"redis" help:"TLS: PEM file with the client certificate of this node."`
	RedisKey          string             `placeholder:"FILE" group:"redis" help:"TLS: PEM file with the key of the client certificate."`
	RedisServerName   string             `placeholder:"NAME" group:"redis" help:"TLS: server name to expect in the Redis certificate (default: the host of the URL)."`
	RedisTimeout      time.Duration      `default:"3s" placeholder:"TIME" group:"redis" help:"Time limit of one call to Redis, including a new connection. A publish that waits for replicas or the disk may take twice as long (default ${default})."`
	RedisDialTimeout  time.Duration      `placeholder:"TIME" group:"redis" help:"Time limit of one connection attempt to Redis (default: half of --redis-timeout)."`
	RedisPrefix       string             `default:"tidemark" placeholder:"NAME" group:"redis" help:"Prefix of all Redis keys and channels; all nodes of one log need the same (default ${default})."`
	Partitions        int                `placeholder:"N" group:"redis" help:"Number of partitions of a new log: parts with an order of events of their own. An existing log keeps its number, and a node with another number does not start (default: 1; 16 in a cluster)."`
	Durability        streams.Durability `default:"logged" placeholder:"LEVEL" group:"redis" help:"Guarantee that a publish waits for unless the request names one: logged (in Redis), replicated (on --redis-replicas replicas) or fsynced (on disk; needs Redis 7.2 with appendonly). The embedded log always syncs to disk (default ${default})."`
	RedisReplicas     int                `default:"1" placeholder:"N" group:"redis" help:"Number of replicas that durability 'replicated' waits for (default ${default})."`
}

// Check refuses settings of Redis without --redis. Such a node would keep its log on its own
// disk, although the operator expects Redis.
func (f *RedisFlags) Check() error {
	for _, flag := range []struct{ name, value string }{
		{"redis-password-file", f.RedisPasswordFile},
		{"redis-sentinel-password-file", f.SentinelPassword},
		{"redis-ca", f.RedisCA}, {"redis-cert", f.RedisCert}, {"redis-key", f.RedisKey}, {"redis-server-name", f.RedisServerName},
	} {
		if f.Redis == "" && flag.value != "" {
			return cli.UsageError("--" + flag.name + " is given but --redis is not: add --redis")
		}
	}
	return nil
}

// Options returns the options of the log in Redis.
func (f *RedisFlags) Options() redislog.Options {
	return redislog.Options{
		URL: f.Redis, PasswordFile: f.RedisPasswordFile, SentinelPasswordFile: f.SentinelPassword,
		TLS:     redislog.TLS{CAFile: f.RedisCA, CertFile: f.RedisCert, KeyFile: f.RedisKey, ServerName: f.RedisServerName},
		Timeout: f.RedisTimeout, DialTimeout: f.RedisDialTimeout,
		Prefix: f.RedisPrefix, Partitions: f.Partitions,
		Durability: f.Durability, Replicas: f.RedisReplicas,
	}
}

// LogRedisTo sends the messages of the Redis client library to logger at level debug. By
// default the library prints them to standard error. They are only details: the log in
// Redis reports their consequences as errors.
func LogRedisTo(logger *slog.Logger) { redis.SetLogger(redisLogger{logger}) }

type redisLogger struct{ *slog.Logger }

func (l redisLogger) Printf(ctx context.Context, format string, v ...any) {
	l.DebugContext(ctx, fmt.Sprintf(format, v...))
}
