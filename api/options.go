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

	// MaxHeader is how many bytes a request's line and headers may have; default
	// DefaultMaxHeader. Let http.Server.MaxHeaderBytes lie far above, for net/http's
	// own answer is not a problem document.
	MaxHeader int

	// BodyTimeout is how long a request's body may take to arrive; default 30 s.
	BodyTimeout time.Duration

	// PublishRate and AddressRate count what is published, by key or user and by the
	// client's address; default: nothing is counted. Each may be of this node alone or
	// of all nodes.
	PublishRate, AddressRate limits.RateLimiter

	// MaxMessages is how many messages a second a WebSocket may send, and at once; more
	// are refused, far more close it. Default: any number.
	MaxMessages int

	// KeepAlive is how long a connection may be silent. Then it is sent its
	// position, which also keeps proxies awake: most cut what is idle for 30 to
	// 60 s. Default 15 s.
	KeepAlive time.Duration

	// PingEvery is how often a WebSocket is pinged. Two missed pongs close it.
	// Default 35 s: a client that stalls for a minute has missed one or two.
	PingEvery time.Duration

	// WriteTimeout bounds one write to a client; default 2 min. A client that
	// reads nothing for longer is gone, and comes back with its cursor.
	WriteTimeout time.Duration

	// DrainSpread is the time over which Shutdown sends the clients away, so that
	// they do not all come back somewhere else at once; default 2 s.
	DrainSpread time.Duration

	// Access says what credentials allow. nil: everybody may do everything, but for
	// pages of other origins. It is to be open for as long as the Server.
	Access *access.Verifier

	// TrustedProxies are the networks of proxies that may name the client of a request, in
	// X-Forwarded-For or Forwarded, each as ParseProxy returns it. Default: none.
	TrustedProxies []netip.Prefix

	// Cookie names the cookie that may carry a credential, for pages of the server's
	// own origin and of those in Origins by name; default: none may.
	Cookie string

	// Origins are those whose pages may use the server beside its own, each as
	// ParseOrigin returns it. "*" is for all of them, which may not use the cookie.
	Origins []string

	// ConnectionLimiter count connections that stay. nil: there may be any number. They are to be
	// open for as long as the Server.
	ConnectionLimiter *limits.ConnectionLimiter

	// AccessLog has a line for each request when it is answered, and for each stream and
	// WebSocket when it has ended; default: none.
	AccessLog *slog.Logger

	Logger     *slog.Logger          // default: none
	Version    string                // of the program, for those who may look at the node
	Registerer prometheus.Registerer // of this package's metrics; default: none
	Gatherer   prometheus.Gatherer   // what /metrics shows; default: no such page
	Console    http.Handler          // the page at / and its parts at /console/; default: no such page
	Tracing    trace.TracerProvider  // of the requests' spans; default: none
}

// The defaults of some Options.
const (
	DefaultMaxBatch    = 1000
	DefaultMaxBody     = 8 << 20
	DefaultMaxRooms    = 100
	DefaultMaxHeader   = 64 << 10
	DefaultBodyTimeout = 30 * time.Second
)

const (
	// publishLimit bounds how long a publish waits for the log.
	publishLimit = 8 * time.Second
	// maxFirstRead bounds the memory that is taken for a body because it was announced.
	maxFirstRead = 8 << 10
	// historyLimit bounds how long a page of history waits for the log.
	historyLimit = 10 * time.Second
	// readyLimit bounds how long a readiness check waits for the log, below the
	// time-outs that orchestrators use.
	readyLimit = 2 * time.Second
	// farewellLimit bounds how long a client that is sent away may take to hear of it.
	// It is longer than publishLimit: what a socket has begun to publish is answered.
	farewellLimit = 10 * time.Second
	// maxLast is the most events that a follow may ask to begin with.
	maxLast = 1000
	// maxHistory is the most events of a page of history, and defaultHistory how
	// many there are if nothing is asked for.
	maxHistory, defaultHistory = 1000, 100
	// maxWrite bounds what is encoded before it is written, give or take one
	// event: what a slow client that catches up costs in memory.
	maxWrite = 256 << 10
)

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
	o.DrainSpread = cmp.Or(o.DrainSpread, 2*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// maxEvent bounds the text of one published event: its data may be written with
// white space, which is not stored.
func (o *Options) maxEvent() int { return 2*o.MaxData + 4<<10 }

// ParseProxy reads an element of Options.TrustedProxies: a CIDR such as 10.0.0.0/8, an
// address, or "unix" for every peer on a Unix socket.
func ParseProxy(text string) (netip.Prefix, error) { return clientip.ParseProxy(text) }

// ProxyText returns a network in the form that ParseProxy reads.
func ProxyText(network netip.Prefix) string { return clientip.ProxyText(network) }
