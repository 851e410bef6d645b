package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/clientip"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
)

// Options tunes a Server. The zero value of each field means its default.
type Options struct {
	MaxData  int // bytes of an event's data, as compact JSON; default 64 KiB
	MaxBatch int // events of one batch, an event to n rooms counting n times; default 1,000
	MaxBody  int // bytes of a batch's body; default 8 MiB
	MaxRooms int // rooms that one connection may follow; default 100

	// MaxHeader bounds a request's line and headers, in bytes; default DefaultMaxHeader.
	// Set http.Server.MaxHeaderBytes to 1.5 times the value: net/http's own answer is not a
	// problem document, and each byte more costs about 20 until the header is complete.
	MaxHeader int

	// BodyTimeout is how long a request's body may take to arrive; default 30 s.
	BodyTimeout time.Duration

	// PublishRate limits the events that a user or key publishes, and AddressRate those
	// that a client address publishes; default: no limit. Each may count on this node
	// alone or on all nodes.
	PublishRate, AddressRate limits.RateLimiter

	// MaxMessages is how many messages a WebSocket may send per second, and at once. More
	// are refused; far more close the connection. Default: no limit.
	MaxMessages int

	// KeepAlive is the longest silence on a connection. Then the client receives its
	// cursor, which also keeps proxies from closing the connection: most do so after 30
	// to 60 s. Default 15 s.
	KeepAlive time.Duration

	// PingEvery is the interval of pings on a WebSocket. Two missed pongs close it.
	// Default 35 s: a client that stalls for a minute has missed one or two.
	PingEvery time.Duration

	// WriteTimeout bounds one write to a client; default 2 min. A client that reads nothing
	// for longer is disconnected and can resume with its cursor.
	WriteTimeout time.Duration

	// DrainSpread is the time over which Shutdown sends the clients to other nodes, so that
	// they do not all reconnect at once; default 2 s.
	DrainSpread time.Duration

	// MaxConnections and MaxConnectionsPerAddress bound the TCP connections that Listen
	// accepts, idle ones included, of the node and of one client address: four times the
	// value, and at least 64. Set them to the limits of ConnectionLimiter; default: no limit.
	MaxConnections, MaxConnectionsPerAddress int

	// UnsentMemory bounds the data, in bytes, that all slow clients together make the node
	// hold until they take it; default 128 MiB. If more is needed, the client that has taken
	// nothing for longest is disconnected. It can resume with its cursor.
	UnsentMemory int64

	// HeaderMemory bounds the memory, in bytes, of the connections that Listen has accepted
	// and whose client has not sent a complete request header; default 128 MiB. If more is
	// needed, the one that has waited longest is closed.
	HeaderMemory int64

	// Access verifies credentials. nil: every request may do everything, except from pages
	// of other origins. It must stay open as long as the Server is used.
	Access *access.Verifier

	// TrustedProxies are the networks of proxies that may name the client of a request, in
	// X-Forwarded-For or Forwarded, each as ParseProxy returns it. Default: none.
	TrustedProxies []netip.Prefix

	// Cookie is the name of the cookie that may carry a credential, for pages of the
	// server's own origin and of the origins that Origins lists by name; default: none.
	Cookie string

	// Origins are the other origins whose pages may use the server, each as ParseOrigin
	// returns it. "*" allows all of them, without the cookie.
	Origins []string

	// ConnectionLimiter limits streams and WebSockets; nil means no limit. It must stay open
	// as long as the Server is used.
	ConnectionLimiter *limits.ConnectionLimiter

	// HistoryLimiter limits the history requests in progress, as ConnectionLimiter limits
	// connections, but apart from them. It must stay open as long as the Server is used.
	HistoryLimiter *limits.ConnectionLimiter

	// ReadRate limits the reads of a user or key, and ReadAddressRate those of a client
	// address: one for each history request and for each room that a client begins to
	// follow. Default: no limit.
	ReadRate, ReadAddressRate limits.RateLimiter

	// NewRoomRate limits the rooms that a user or key creates by publishing; default: no
	// limit.
	NewRoomRate limits.RateLimiter

	// BodiesMemory bounds the memory, in bytes, of all request bodies and WebSocket messages
	// that arrive or wait for the log; default 128 MiB. When it is used up, the client that
	// made no progress for longest is refused.
	BodiesMemory int64

	// AccessLog gets one line for each request when it is answered, and for each stream and
	// WebSocket when it ends; default: none.
	AccessLog *slog.Logger

	Logger     *slog.Logger          // default: none
	Version    string                // of the program, shown to callers that may administer the node
	Registerer prometheus.Registerer // for this package's metrics; default: none
	Gatherer   prometheus.Gatherer   // for /metrics; default: no such page
	Console    http.Handler          // for / and /console/; default: no such pages
	Tracing    trace.TracerProvider  // for spans of requests; default: none
}

// Defaults of Options that other packages use.
const (
	DefaultMaxBatch    = 1000
	DefaultMaxBody     = 8 << 20
	DefaultMaxRooms    = 100
	DefaultMaxHeader   = 64 << 10
	DefaultBodyTimeout = 30 * time.Second
)

// publishTimeout bounds how long a publish waits for the log.
const publishTimeout = 8 * time.Second

func (o Options) withDefaults() Options {
	o.MaxData = cmp.Or(o.MaxData, streams.DefaultMaxData)
	o.MaxBatch = cmp.Or(o.MaxBatch, DefaultMaxBatch)
	o.MaxBody = cmp.Or(o.MaxBody, DefaultMaxBody)
	o.MaxRooms = cmp.Or(o.MaxRooms, DefaultMaxRooms)
	o.MaxHeader = cmp.Or(o.MaxHeader, DefaultMaxHeader)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, DefaultBodyTimeout)
	o.KeepAlive = cmp.Or(o.KeepAlive, 15*time.Second)
	o.PingEvery = cmp.Or(o.PingEvery, 35*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 2*time.Minute)
	o.UnsentMemory = cmp.Or(o.UnsentMemory, 128<<20)
	o.HeaderMemory = cmp.Or(o.HeaderMemory, 128<<20)
	o.DrainSpread = cmp.Or(o.DrainSpread, 2*time.Second)
	o.BodiesMemory = cmp.Or(o.BodiesMemory, 128<<20)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// maxEvent bounds the text of one published event, in bytes: its data may contain white space
// that is not stored.
func (o *Options) maxEvent() int { return 2*o.MaxData + 4<<10 }

// ParseProxy reads an element of Options.TrustedProxies: a CIDR such as 10.0.0.0/8, an
// address, or "unix" for every peer on a Unix socket.
func ParseProxy(text string) (netip.Prefix, error) { return clientip.ParseProxy(text) }

// ProxyText returns a network in the form that ParseProxy reads.
func ProxyText(network netip.Prefix) string { return clientip.ProxyText(network) }
