package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
)

// limitFlags say how much of a node a client may use.
type limitFlags struct {
	MaxData  int `default:"65536" placeholder:"BYTES" group:"limits" help:"Largest event data, as compact JSON (default ${default})."`
	MaxBatch int `default:"1000" placeholder:"N" group:"limits" help:"Most events of a batch, where one to several rooms counts for each (default ${default})."`
	MaxBody  int `default:"8388608" placeholder:"BYTES" group:"limits" help:"Largest body of a batch (default ${default}). That of a publish follows from --max-data."`
	MaxRooms int `default:"100" placeholder:"N" group:"limits" help:"Most rooms that a connection may follow (default ${default})."`

	MaxHeader     int           `default:"65536" placeholder:"BYTES" group:"limits" help:"Longest request line and headers, together (default ${default})."`
	HeaderTimeout time.Duration `default:"10s" placeholder:"TIME" group:"limits" help:"How long a request's headers may take to arrive (default ${default})."`
	BodyTimeout   time.Duration `default:"30s" placeholder:"TIME" group:"limits" help:"How long a request's body may take to arrive (default ${default})."`
	IdleTimeout   time.Duration `default:"2m" placeholder:"TIME" group:"limits" help:"How long a connection may wait for its next request (default ${default})."`

	MaxMessages           int         `default:"0" placeholder:"N" group:"limits" help:"Most messages that a WebSocket may send a second, and at once; more are refused, and one that sends twice as many is closed after a few seconds. 0: any number (default)."`
	PublishRate           limits.Rate `placeholder:"RATE" group:"limits" help:"Most events that an API key or a user may publish, such as 100/s, 6000/m or 50000/h, and 100/s,200 for up to 200 at once. All nodes on one Redis count together (default: any number)."`
	PublishRatePerAddress limits.Rate `placeholder:"RATE" group:"limits" help:"The same for each address that is published from; IPv6 by /64 (default: any number)."`

	TrustedProxy []proxy `placeholder:"CIDR" group:"limits" help:"Network whose proxies are believed about where a request comes from (X-Forwarded-For, Forwarded), such as 10.0.0.0/8 or an address, or 'unix' for a proxy that connects over a Unix socket. Repeatable."`
}

// The widest that limits may be set. What is allowed beyond the defaults takes memory
// for each request or connection that uses it; these keep a slip of the finger from
// being no limit at all.
const (
	mostBytes  = 1 << 30
	mostEvents = 100_000 // a batch of them is some seconds' work for a log
	mostRooms  = 10_000
	mostHeader = 1 << 20
	mostWait   = time.Hour

	mostMessages = 1_000_000

	// leastHeader has room for what browsers send by themselves, and leastBody for
	// one small event.
	leastHeader = 4 << 10
	leastBody   = 1 << 10
)

// checkLimits refuses limits that nobody can mean.
func (f *limitFlags) checkLimits() error {
	for _, l := range []struct {
		flag               string
		value, least, most int
	}{
		{"max-data", f.MaxData, 1, mostBytes},
		{"max-batch", f.MaxBatch, 1, mostEvents},
		{"max-body", f.MaxBody, leastBody, mostBytes},
		{"max-rooms", f.MaxRooms, 1, mostRooms},
		{"max-header", f.MaxHeader, leastHeader, mostHeader},
		{"max-messages", f.MaxMessages, 0, mostMessages},
	} {
		if l.value < l.least || l.value > l.most {
			return usageError(fmt.Sprintf("--%s: %d, want %d to %d", l.flag, l.value, l.least, l.most))
		}
	}
	for _, l := range []struct {
		flag  string
		value time.Duration
	}{
		{"header-timeout", f.HeaderTimeout}, {"body-timeout", f.BodyTimeout}, {"idle-timeout", f.IdleTimeout},
	} {
		if l.value < time.Millisecond || l.value > mostWait {
			return usageError(fmt.Sprintf("--%s: %v, want a time such as 10s, up to %v", l.flag, l.value, mostWait))
		}
	}
	return nil
}

// buckets returns what counts publishes at r, under a name of its own: in the log's
// Redis, with the other nodes, or where there is none in this node. nil is for no limit.
func buckets(log streams.Log, name string, r limits.Rate, logger *slog.Logger) limits.RateLimiter {
	if r == (limits.Rate{}) {
		return nil
	}
	if shared, ok := log.(*redislog.Log); ok {
		return limits.NewSharedLimiter(shared.Client(), shared.Prefix(), name, r, logger)
	}
	return limits.NewLocalLimiter(r)
}

// proxy is a network of proxies.
type proxy netip.Prefix

func (p *proxy) UnmarshalText(text []byte) error {
	parsed, err := api.ParseProxy(string(text))
	*p = proxy(parsed)
	return err
}

// String returns p as UnmarshalText reads it.
func (p proxy) String() string { return api.ProxyText(netip.Prefix(p)) }

// proxies returns the networks that are believed.
func (f *limitFlags) proxies() []netip.Prefix {
	list := make([]netip.Prefix, len(f.TrustedProxy))
	for i, p := range f.TrustedProxy {
		list[i] = netip.Prefix(p)
	}
	return list
}
