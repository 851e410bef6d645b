package redislog

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/streams"
)

const (
	defaultPrefix  = "tidemark"
	defaultTimeout = 3 * time.Second

	// clusterPartitions is the default where there are nodes to share the work.
	clusterPartitions = 16
)

// Options says which Redis and how to use it. URL is needed; the zero value of
// the others means the default.
type Options struct {
	// URL is one of
	//
	//	redis://user:password@host:port/db
	//	unix:///path/to/redis.sock?db=1
	//	redis+sentinel://user:password@host1:port,host2:port/db?master_name=name
	//	redis+cluster://user:password@host1:port,host2:port
	//
	// with rediss in place of redis for TLS. The user is Redis's; that of Sentinels
	// is given by the parameters sentinel_username and sentinel_password. Others
	// are addr (one more address), db, client_name, pool_size, min_idle_conns,
	// conn_max_idle_time and conn_max_lifetime, as in go-redis.
	//
	// It is a URL and not a client, for what is promised here hangs on the client's
	// settings: above all that it never repeats a write by itself.
	URL string

	PasswordFile         string // holds Redis's password, in place of the URL
	SentinelPasswordFile string // holds the Sentinels' password, in place of the URL
	TLS                  TLS

	// Timeout is the limit for one call, whatever it takes, such as a connection if
	// there is none at hand; an append that waits for replicas or the disk may take
	// twice that. 0 means 3s. DialTimeout is the limit for one attempt to get a
	// connection, with TLS's handshake; 0 means half of Timeout, so that a call
	// outlives an attempt that fails.
	Timeout     time.Duration
	DialTimeout time.Duration

	Partitions int           // of the log, fixed when it is created; 0 means 1, and 16 in a Cluster
	Prefix     string        // of all keys and channels, so that deployments can share a Redis; "" means "tidemark"
	KeyLife    time.Duration // of idempotency keys; 0 means streams.DefaultKeyLife
	TailLife   time.Duration // of tail records, after their events; 0 means streams.DefaultTailLife
	Logger     *slog.Logger  // nil means slog.Default()

	// Tracing makes spans of what traced requests ask of Redis; nil means none. Events
	// carry the traces of their drafts in either case.
	Tracing trace.TracerProvider
	Metrics prometheus.Registerer // nil: none

	// Durability of the drafts that ask for none; 0 means Logged. Fsynced needs
	// Redis 7.2 with appendonly on.
	Durability streams.Durability
	Replicas   int // that Replicated waits for; 0 means 1

	// RequiredCommands are commands that others who use Client run, each with words that make it one
	// of theirs. The user is to be allowed to run them, as the log's own.
	RequiredCommands [][]string

	// What the URL and the files say; filled in by withDefaults.
	place place
	certs *tls.Config // nil without TLS
}

// Check returns the error that Open would, as far as it can be known without Redis: it
// reads the URL and the files that are named.
func (o Options) Check() error {
	if _, err := o.withDefaults(); err != nil {
		return fmt.Errorf("redis log: %w", err)
	}
	return nil
}

// withDefaults completes o, and reads the files that it names. Its errors never
// hold a password.
func (o Options) withDefaults() (Options, error) {
	if err := o.locate(); err != nil {
		return o, err
	}
	partitions := 1
	if o.place.shape == cluster {
		partitions = clusterPartitions
	}
	o.Partitions = orDefault(o.Partitions, partitions)
	o.Prefix = orDefault(o.Prefix, defaultPrefix)
	o.KeyLife = orDefault(o.KeyLife, streams.DefaultKeyLife)
	o.TailLife = orDefault(o.TailLife, streams.DefaultTailLife)
	o.Timeout = orDefault(o.Timeout, defaultTimeout)
	o.DialTimeout = orDefault(o.DialTimeout, o.Timeout/2)
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
	case o.DialTimeout < 0 || o.DialTimeout > o.Timeout:
		return o, fmt.Errorf("%v for dialling, want at most the %v that a call may take", o.DialTimeout, o.Timeout)
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
