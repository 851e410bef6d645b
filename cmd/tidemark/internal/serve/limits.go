package serve

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
)

// limitFlags bound what requests and messages may cost.
type limitFlags struct {
	MaxData  int `default:"65536" placeholder:"BYTES" group:"limits" help:"Maximum size of an event's data, as compact JSON (default ${default})."`
	MaxBatch int `default:"1000" placeholder:"N" group:"limits" help:"Maximum number of events in a batch. An event for several rooms counts once for each room (default ${default})."`
	MaxBody  int `default:"8388608" placeholder:"BYTES" group:"limits" help:"Maximum size of a batch request's body. The limit of a single publish follows from --max-data (default ${default})."`
	MaxRooms int `default:"100" placeholder:"N" group:"limits" help:"Maximum number of rooms that one connection may follow (default ${default})."`

	MaxFollowedRooms int   `default:"100000" placeholder:"N" group:"limits" help:"Maximum number of rooms that this node follows for its clients together. Rooms without a client are left first (default ${default})."`
	MaxBodiesMemory  int64 `placeholder:"BYTES" group:"limits" help:"Maximum memory of all request bodies and WebSocket messages that arrive or wait for the log. If it is used up, the slowest client is refused (default: an eighth of the memory limit)."`

	MaxHeader     int           `default:"65536" placeholder:"BYTES" group:"limits" help:"Maximum size of the request line and headers together (default ${default})."`
	HeaderTimeout time.Duration `default:"10s" placeholder:"TIME" group:"limits" help:"Time limit for a request's headers to arrive (default ${default})."`
	BodyTimeout   time.Duration `default:"30s" placeholder:"TIME" group:"limits" help:"Time limit for a request's body to arrive (default ${default})."`
	IdleTimeout   time.Duration `default:"2m" placeholder:"TIME" group:"limits" help:"How long a connection may wait between requests before the node closes it (default ${default})."`

	MaxMessages           int         `default:"0" placeholder:"N" group:"limits" help:"Maximum number of messages per second that one WebSocket may send, also as a burst. The node refuses the excess, and closes a connection that sends more than twice the limit for a few seconds. 0: no limit (default)."`
	PublishRate           limits.Rate `placeholder:"RATE" group:"limits" help:"Maximum rate of events that one API key or user may publish, over all nodes on one Redis: 100/s, 6000/m or 50000/h, or 100/s,200 to allow bursts of 200 (default: no limit)."`
	PublishRatePerAddress limits.Rate `placeholder:"RATE" group:"limits" help:"Maximum rate of events that one client address, or IPv6 /64 network, may publish, over all nodes on one Redis (default: no limit)."`
	ReadRate              limits.Rate `placeholder:"RATE" group:"limits" help:"Maximum rate of reads of one API key or user, over all nodes on one Redis. A read is a history request, or a room that a client begins to follow (default: no limit)."`
	ReadRatePerAddress    limits.Rate `placeholder:"RATE" group:"limits" help:"Maximum rate of reads from one client address, or IPv6 /64 network, over all nodes on one Redis (default: no limit)."`
	NewRoomRate           limits.Rate `placeholder:"RATE" group:"limits" help:"Maximum rate of rooms that one API key or user may create by publishing to them, over all nodes on one Redis, such as 60/h (default: no limit)."`

	TrustedProxy []proxy `placeholder:"CIDR" group:"limits" help:"Network or address of proxies whose headers X-Forwarded-For and Forwarded name the client's address, such as 10.0.0.0/8, or 'unix' for proxies that connect over a Unix socket. Repeatable."`
}

// The largest and smallest values that flags accept. Limits above the defaults take memory
// for each request or connection; the maxima catch typing errors that would disable a limit.
const (
	maxBytes    = 1 << 30
	maxMemory   = 1 << 40
	maxFollowed = 10_000_000
	maxEvents   = 100_000 // such a batch takes a log several seconds
	maxRooms    = 10_000
	maxHeader   = 1 << 20
	maxMessages = 1_000_000
	maxWait     = time.Hour

	minHeader = 4 << 10 // browsers send this much by themselves
	minBody   = 1 << 10 // one small event
)

// check refuses values that are out of range.
func (f *limitFlags) check() error {
	for _, l := range []struct {
		flag            string
		value, min, max int
	}{
		{"max-data", f.MaxData, 1, maxBytes},
		{"max-batch", f.MaxBatch, 1, maxEvents},
		{"max-body", f.MaxBody, minBody, maxBytes},
		{"max-rooms", f.MaxRooms, 1, maxRooms},
		{"max-followed-rooms", f.MaxFollowedRooms, f.MaxRooms, maxFollowed},
		{"max-header", f.MaxHeader, minHeader, maxHeader},
		{"max-messages", f.MaxMessages, 0, maxMessages},
	} {
		if l.value < l.min || l.value > l.max {
			return cli.UsageError(fmt.Sprintf("--%s: %d, want %d to %d", l.flag, l.value, l.min, l.max))
		}
	}
	if least := f.minBodiesMemory(); f.MaxBodiesMemory != 0 && (f.MaxBodiesMemory < least || f.MaxBodiesMemory > maxMemory) {
		return cli.UsageError(fmt.Sprintf("--max-bodies-memory: %d, want %d (for one body of the largest size) to %d", f.MaxBodiesMemory, least, int64(maxMemory)))
	}
	for _, l := range []struct {
		flag  string
		value time.Duration
	}{
		{"header-timeout", f.HeaderTimeout}, {"body-timeout", f.BodyTimeout}, {"idle-timeout", f.IdleTimeout},
	} {
		if l.value < time.Millisecond || l.value > maxWait {
			return cli.UsageError(fmt.Sprintf("--%s: %v, want a time such as 10s, up to %v", l.flag, l.value, maxWait))
		}
	}
	return nil
}

// minBodiesMemory returns the memory that one body of the largest size needs: its text, a copy
// of its data, and a KiB for each event.
func (f *limitFlags) minBodiesMemory() int64 {
	return 2*int64(max(f.MaxBody, 2*f.MaxData)) + int64(f.MaxBatch)<<10 + 64<<10
}

// bodiesMemory returns the value of --max-bodies-memory. The default is share, or more if a
// single body may need more.
func (f *limitFlags) bodiesMemory(share int64) int64 {
	if f.MaxBodiesMemory != 0 {
		return f.MaxBodiesMemory
	}
	return max(share, f.minBodiesMemory())
}

// rateLimiter returns a limiter that counts against r under name, or nil if there
// is no limit. With Redis all nodes count together; the embedded log has a single node.
func rateLimiter(log streams.Log, name string, r limits.Rate, logger *slog.Logger) limits.RateLimiter {
	if r == (limits.Rate{}) {
		return nil
	}
	if shared, ok := log.(*redislog.Log); ok {
		return limits.NewSharedLimiter(shared.Client(), shared.Prefix(), name, r, logger)
	}
	return limits.NewLocalLimiter(r)
}

// proxy is a network of trusted proxies.
type proxy netip.Prefix

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *proxy) UnmarshalText(text []byte) error {
	parsed, err := api.ParseProxy(string(text))
	*p = proxy(parsed)
	return err
}

// String returns p in the form that UnmarshalText reads.
func (p proxy) String() string { return api.ProxyText(netip.Prefix(p)) }

func (f *limitFlags) proxies() []netip.Prefix {
	list := make([]netip.Prefix, len(f.TrustedProxy))
	for i, p := range f.TrustedProxy {
		list[i] = netip.Prefix(p)
	}
	return list
}
