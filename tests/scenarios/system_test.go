package scenarios_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/streams/redislog"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/redistest"
)

const (
	onEmbedded = "embedded"
	onRedis    = "redis"
)

// eachLog runs a test on each log.
func eachLog(t *testing.T, test func(t *testing.T, log string)) {
	for _, log := range []string{onEmbedded, onRedis} {
		t.Run(log, func(t *testing.T) {
			t.Parallel()
			test(t, log)
		})
	}
}

// matrix runs a test on each log with each transport.
func matrix(t *testing.T, test func(t *testing.T, log string, over follow.Transport)) {
	eachLog(t, func(t *testing.T, log string) {
		eachTransport(t, func(t *testing.T, over follow.Transport) { test(t, log, over) })
	})
}

func eachTransport(t *testing.T, test func(t *testing.T, over follow.Transport)) {
	eachOf(t, test, follow.SSE, follow.WebSocket, follow.H2C, follow.H2)
}

func eachOf(t *testing.T, test func(t *testing.T, over follow.Transport), transports ...follow.Transport) {
	for _, over := range transports {
		t.Run(over.String(), func(t *testing.T) {
			t.Parallel()
			test(t, over)
		})
	}
}

// setup describes a system.
type setup struct {
	nodes      int
	partitions int
	keep       streams.Retention       // of all rooms
	rules      []service.RetentionRule // before keep
	node       service.Options
	api        api.Options

	// redis, if set, is the test's own Redis, which the test may stop. through is the
	// address at which the nodes connect to it, if it is not Redis's own.
	redis   *redistest.Server
	through string
	timeout time.Duration // of one call of Redis

	// faulty inserts a faultyLog between each node and its log.
	faulty bool

	// sendBuffer is the size in bytes of the server's socket buffers. A small one makes the
	// server notice soon that a client does not read. 0 means the system's default.
	sendBuffer int
}

// A system is one log with the nodes that serve it.
type system struct {
	t     *testing.T
	log   string
	setup setup
	http  *http.Client

	dir      string        // of the embedded log
	embedded *embedded.Log // shared by its nodes
	prefix   string        // of the log in Redis

	nodes []*node
	truth truth
	found atomic.Int64 // repeated publishes whose first attempt had been logged
}

var systems atomic.Int64

// newSystem starts nodes, two by default. They end with the test.
func newSystem(t *testing.T, log string, tune ...func(*setup)) *system {
	t.Helper()
	w := &system{
		t: t, log: log, dir: t.TempDir(),
		prefix: fmt.Sprintf("scenario%d", systems.Add(1)),
		http:   newHTTP(),
		setup: setup{
			nodes:      2,
			partitions: 1,
			keep:       service.DefaultRetention(),
			node:       service.Options{CheckEvery: 200 * time.Millisecond},
			api:        api.Options{KeepAlive: 100 * time.Millisecond, DrainSpread: time.Millisecond},
		},
	}
	for _, f := range tune {
		f(&w.setup)
	}
	if log == onRedis && w.setup.redis == nil {
		w.setup.redis = redistest.Shared(t)
	}
	t.Cleanup(w.close)
	w.start()
	return w
}

// newHTTP returns a client that keeps many connections open.
func newHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}, Timeout: wait.Limit}
}

// start starts the nodes.
func (w *system) start() {
	w.t.Helper()
	for i := range w.setup.nodes {
		w.nodes = append(w.nodes, w.startNode(fmt.Sprintf("n%d", i+1)))
	}
}

// close ends the nodes and the log. start starts others on the same log.
func (w *system) close() {
	for _, n := range w.nodes {
		n.stop()
	}
	w.nodes = nil
	if w.embedded != nil {
		if err := w.embedded.Close(); err != nil {
			w.t.Errorf("closing the log: %v", err)
		}
		w.embedded = nil
	}
	w.http.CloseIdleConnections()
}

// restart ends all nodes and starts others on the same log.
func (w *system) restart() {
	w.t.Helper()
	w.close()
	w.start()
}

// openLog opens the log for one node. done closes the node's own part of it.
func (w *system) openLog() (log streams.Log, done func()) {
	w.t.Helper()
	var err error
	if w.log == onEmbedded {
		if w.embedded == nil {
			if w.embedded, err = embedded.Open(w.dir, embedded.Options{SweepEvery: 50 * time.Millisecond}); err != nil {
				w.t.Fatal(err)
			}
		}
		return w.embedded, func() {}
	}
	addr := cmp.Or(w.setup.through, w.setup.redis.Addr())
	l, err := redislog.Open(context.Background(), redislog.Options{
		URL: "redis://" + addr, Prefix: w.prefix, Partitions: w.setup.partitions,
		Timeout: w.setup.timeout, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l, func() {
		if err := l.Close(); err != nil {
			w.t.Errorf("closing the log: %v", err)
		}
	}
}

// An address is the address of a node.
type address struct{ plain, secure string }

// of returns the host:port for a transport.
func (a address) of(over follow.Transport) string {
	if over == follow.H2 {
		return a.secure
	}
	return a.plain
}

// A node is one node with its own listeners.
type node struct {
	w       *system
	at      address
	addr    string     // without TLS
	faults  *faultyLog // nil unless the system is faulty
	metrics *prometheus.Registry

	service *service.Node
	edge    *api.Server
	web     *http.Server
	serving sync.WaitGroup
	endLog  func()
}

func (w *system) startNode(name string) *node {
	w.t.Helper()
	n := &node{w: w, metrics: prometheus.NewRegistry()}
	log, done := w.openLog()
	n.endLog = done
	if w.setup.faulty {
		n.faults = &faultyLog{Log: log, feeds: make(map[*faultyFeed]bool)}
		log = n.faults
	}
	options := w.setup.node
	options.Name, options.Metrics = name, n.metrics
	options.Retention = append(w.setup.rules, service.RetentionRule{Pattern: "*", Retention: w.setup.keep})
	n.service = service.New(log, &options)
	n.edge = api.New(n.service, &w.setup.api)

	n.web = &http.Server{
		Handler: n.edge, ConnState: w.shrink, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		Protocols: new(http.Protocols), TLSConfig: w.tls(),
	}
	n.web.Protocols.SetHTTP1(true)
	n.web.Protocols.SetHTTP2(true)
	n.web.Protocols.SetUnencryptedHTTP2(true)
	plain, secure := w.listen(), w.listen()
	n.addr = plain.Addr().String()
	n.at = address{n.addr, secure.Addr().String()}
	n.serving.Go(func() { _ = n.web.Serve(plain) }) // both end with ErrServerClosed
	n.serving.Go(func() { _ = n.web.ServeTLS(secure, "", "") })
	return n
}

func (w *system) listen() net.Listener {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// tls returns the settings of a server with a self-signed certificate.
func (w *system) tls() *tls.Config {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func (w *system) shrink(c net.Conn, state http.ConnState) {
	if w.setup.sendBuffer > 0 && state == http.StateNew {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		_ = c.(*net.TCPConn).SetWriteBuffer(w.setup.sendBuffer)
	}
}

// stop ends the node in order, and cuts the clients that stay.
func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = n.edge.Shutdown(ctx)
	_ = n.web.Close()
	n.serving.Wait()
	n.service.Close()
	n.endLog()
}

// metric returns the sum of a metric over its labels.
func (n *node) metric(name string) float64 {
	n.w.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			sum := 0.0
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			return sum
		}
	}
	n.w.t.Fatalf("no metric %s", name)
	return 0
}

// get reads a response to its end.
func (w *system) get(url string, header ...string) (status int, body []byte, err error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := w.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}
