package redislog

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
	"github.com/tidemark/tidemark/streams/redislog/internal/redisconn"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

const (
	defaultPrefix  = "tidemark"
	defaultTimeout = 3 * time.Second

	// clusterPartitions is the default in a Cluster, where several nodes share the work.
	clusterPartitions = 16
)

var (
	// ErrTooOld reports a Redis older than 7.0, which has no sharded pub/sub.
	ErrTooOld = rediserr.ErrTooOld

	// ErrSettings reports a Redis that answers but does not match the settings: its
	// topology is not the URL's, or its user lacks a permission. The text says what to
	// change.
	ErrSettings = rediserr.ErrSettings
)

// Options says which Redis to use and how. URL is required. The zero value of every other
// field means its default.
type Options struct {
	// URL is one of
	//
	//	redis://user:password@host:port/db
	//	unix:///path/to/redis.sock?db=1
	//	redis+sentinel://user:password@host1:port,host2:port/db?master_name=name
	//	redis+cluster://user:password@host1:port,host2:port
	//
	// with rediss instead of redis for TLS. The user is Redis's. The Sentinels' user is in
	// the parameters sentinel_username and sentinel_password. Other parameters are addr
	// (one more address), db, client_name, pool_size, min_idle_conns, conn_max_idle_time
	// and conn_max_lifetime, as in go-redis.
	//
	// Options takes a URL and not a client, because the log's promises depend on the
	// client's settings. Most of all, the client must never repeat a write by itself.
	URL string

	PasswordFile         string // file with Redis's password, instead of one in the URL
	SentinelPasswordFile string // file with the Sentinels' password, instead of one in the URL
	TLS                  TLS

	// Timeout is the limit for one call, including a new connection where the call needs
	// one. An append that waits for replicas or the disk may take twice as long. 0 means 3s.
	Timeout time.Duration

	// DialTimeout is the limit for one attempt to connect, including the TLS handshake. It
	// must not exceed Timeout. 0 means half of Timeout, so that a call outlives one failed
	// attempt.
	DialTimeout time.Duration

	Partitions int           // of the log, fixed when it is created; 0 means 1, and 16 in a Cluster
	Prefix     string        // of all keys and channels, so that deployments can share a Redis; "" means "tidemark"
	KeyLife    time.Duration // of idempotency keys; 0 means streams.DefaultKeyLife
	TailLife   time.Duration // of tail records, after their events; 0 means streams.DefaultTailLife
	Logger     *slog.Logger  // nil means slog.Default()

	// Tracing makes spans of the calls to Redis in traced requests; nil means none. Events
	// carry the traces of their drafts in either case.
	Tracing trace.TracerProvider
	Metrics prometheus.Registerer // nil means no metrics

	// Durability of the drafts that do not ask for one; 0 means Logged. Fsynced needs
	// Redis 7.2 with appendonly on.
	Durability streams.Durability
	Replicas   int // number that Replicated waits for; 0 means 1

	// RequiredCommands are further commands that other packages run with Client, each with
	// arguments that they use. Open checks that the user may run them.
	RequiredCommands [][]string
}

// TLS says how to trust a Redis and how to identify this node to it, if the URL starts
// with rediss. Open reads the files once. The zero value trusts the system's authorities
// and presents no certificate.
type TLS struct {
	CAFile     string // authorities that may have signed the server's certificate, PEM; "" means the system's
	CertFile   string // this node's certificate, PEM, with its intermediate certificates
	KeyFile    string // the key of CertFile, PEM
	ServerName string // name in every server's certificate; "" means the dialled host
}

// Check returns the error that Open would return, as far as it can be known without
// connecting. It reads the URL and the named files.
func (o Options) Check() error {
	_, _, err := o.Resolve()
	return err
}

// Resolve returns o with its defaults filled in, and the settings of a connection. It
// reads the URL and the named files. Errors never contain a password. Open and package
// doctor use it.
func (o Options) Resolve() (Options, *redisconn.Config, error) {
	to, err := o.connection()
	if err != nil {
		return o, nil, fmt.Errorf("redis: %w", err)
	}
	partitions := 1
	if to.Endpoint.Topology == endpoint.Cluster {
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
	if err := o.checkRanges(); err != nil {
		return o, nil, fmt.Errorf("redis: %w", err)
	}
	to.Timeout, to.DialTimeout = o.Timeout, o.DialTimeout
	return o, to, nil
}

// connection reads the URL and the files.
func (o Options) connection() (to *redisconn.Config, err error) {
	to = &redisconn.Config{}
	if to.Endpoint, err = endpoint.Parse(o.URL); err != nil {
		return nil, err
	}
	if err = to.Endpoint.ReadPasswords(o.PasswordFile, o.SentinelPasswordFile); err != nil {
		return nil, err
	}
	to.Certificates, err = to.Endpoint.TLSConfig(endpoint.TLSFiles(o.TLS))
	return to, err
}

func (o Options) checkRanges() error {
	switch {
	case o.Partitions < 1 || o.Partitions > 1<<16:
		return fmt.Errorf("%d partitions: want 1 to %d", o.Partitions, 1<<16)
	case strings.ContainsAny(o.Prefix, "{}"):
		return fmt.Errorf("prefix %q: remove the braces, which would move keys to another hash slot", o.Prefix)
	case o.KeyLife < time.Millisecond || o.TailLife < time.Millisecond || o.Timeout < time.Millisecond:
		return errors.New("key life, tail life and timeout must be at least a millisecond")
	case o.Replicas < 1:
		return fmt.Errorf("%d replicas to wait for: want 1 or more", o.Replicas)
	case o.DialTimeout < 0 || o.DialTimeout > o.Timeout:
		return fmt.Errorf("%v for dialling: want at most the %v that a call may take", o.DialTimeout, o.Timeout)
	}
	return nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
