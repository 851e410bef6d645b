//go:build linux

package edge

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/tests/internal/wait"
)

// A node runs in this process. It gives up empty rooms after 20 ms.
type node struct {
	t      *testing.T
	edge   *api.Server
	http   *httptest.Server
	gauges *prometheus.Registry
}

// startNode starts a node that ends with the test.
func startNode(t *testing.T) *node {
	t.Helper()
	log, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	n := &node{t: t, gauges: prometheus.NewRegistry()}
	inner := service.New(log, &service.Options{CheckEvery: 20 * time.Millisecond, Linger: 20 * time.Millisecond, Metrics: n.gauges})
	t.Cleanup(inner.Close)
	n.edge = api.New(inner, &api.Options{DrainSpread: 200 * time.Millisecond, Registerer: n.gauges})
	n.http = httptest.NewServer(n.edge)
	t.Cleanup(n.http.Close)
	return n
}

// gauge returns the sum of a gauge over its labels.
func (n *node) gauge(name string) (sum float64) {
	n.t.Helper()
	families, err := n.gauges.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// A node drains while clients connect in large numbers. In the end no gauge counts a client,
// no room is held and no goroutine is left.
func TestScenario36Draining(t *testing.T) {
	const drains, storm = 4, 800
	for range drains {
		t.Run("", func(t *testing.T) {
			n := startNode(t)
			c := &caller{to: strings.TrimPrefix(n.http.URL, "http://")}
			fillNode(t, n)
			exchangeRunner := &exchangeRunner{dial: c.dial}
			var running sync.WaitGroup
			running.Go(func() { exchangeRunner.exchange(storm, func(error) {}) }) // from here on a refused client is no failure
			if !wait.For(func() bool { return exchangeRunner.made.Load() > storm/2 }) {
				t.Error("the storm does not begin")
			}
			if err := n.edge.Shutdown(context.Background()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			running.Wait()
			for _, name := range []string{"tidemark_connections", "tidemark_subscriptions", "tidemark_rooms"} {
				if !wait.For(func() bool { return n.gauge(name) == 0 }) {
					t.Errorf("%s is %v", name, n.gauge(name))
				}
			}
		})
	}
}

// fillNode publishes the events that the exchanges expect.
func fillNode(t *testing.T, n *node) {
	t.Helper()
	client := n.http.Client()
	defer client.CloseIdleConnections()
	for range 10 {
		if _, err := publishTo(client, n.http.URL, "lobby", "x", ""); err != nil {
			t.Fatal(err)
		}
	}
}
