package ws

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
)

// A publishBackend stores every publish, after hold is closed.
type publishBackend struct {
	Backend
	hold chan struct{}
}

func (b publishBackend) Publish(_ context.Context, _ *access.Grant, _ string, drafts []streams.Draft) []streams.Receipt {
	if len(drafts) > 0 {
		<-b.hold
	}
	return make([]streams.Receipt, len(drafts))
}

func (publishBackend) Draining() bool { return false }

// newTestServer returns the URL of a server of sessions whose messages count in pool.
func newTestServer(t *testing.T, pool *limits.MemoryPool, b Backend) string {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	env := &conn.Env{
		Scheduler: conn.NewScheduler(conn.NewDeliveries()), Set: new(conn.Set), InFlight: new(conn.InFlight), Logger: logger,
		Problems:     problem.NewReporter(logger, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x"}, []string{"code"})),
		Cut:          context.Background(),
		WriteTimeout: time.Minute, KeepAlive: time.Minute,
	}
	for p := range conn.Protocols {
		env.Open[p] = prometheus.NewGauge(prometheus.GaugeOpts{Name: "y"})
	}
	sessions := NewServer(env, b, Options{
		MaxData: 1 << 20, MaxMessage: 1 << 20, MaxRooms: 1, PingEvery: time.Minute, Bodies: pool,
		Refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "z"}),
	})
	e := echo.New()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k := sessions.Upgrade(echo.NewResponse(w, e), r, Request{Grant: access.Unrestricted()}); k != nil {
			k.Serve()
		}
	}))
	t.Cleanup(func() {
		web.Close()
		env.Set.Close()
		_ = env.InFlight.Wait(context.Background())
		env.Scheduler.Wait()
		if pool.Used() != 0 {
			t.Errorf("%d bytes of messages are still counted", pool.Used())
		}
	})
	return "ws" + strings.TrimPrefix(web.URL, "http")
}

func dialTest(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	return c
}

// await waits until the pool's use is at least n.
func await(t *testing.T, pool *limits.MemoryPool, n int64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); pool.Used() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are counted, want %d", pool.Used(), n)
		}
	}
}

func publishOf(size int) []byte {
	return []byte(`{"op":"publish","room":"lobby","data":"` + strings.Repeat("x", size) + `"}`)
}

// Messages that arrive, wait, or are executed count in the pool. The session that has made
// no progress for longest is closed, and says why; the others are served.
func TestOverloadedSession(t *testing.T) {
	const size = 200 << 10 // in a buffer of 256 KiB
	for name, stall := range map[string]func(*testing.T, *websocket.Conn){
		"arriving": func(t *testing.T, c *websocket.Conn) {
			frame := clientFrame(true, websocket.TextMessage, size)
			if _, err := c.NetConn().Write(frame[:len(frame)-1]); err != nil {
				t.Fatal(err)
			}
		},
		"executed and waiting": func(t *testing.T, c *websocket.Conn) {
			for range 2 {
				if err := c.WriteMessage(websocket.TextMessage, publishOf(size/2)); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			pool, hold := limits.NewMemoryPool(400<<10), make(chan struct{})
			url := newTestServer(t, pool, publishBackend{hold: hold})
			release := sync.OnceFunc(func() { close(hold) })
			t.Cleanup(release)
			stalled := dialTest(t, url)
			stall(t, stalled)
			await(t, pool, size)
			other := dialTest(t, url)
			if err := other.WriteMessage(websocket.TextMessage, publishOf(size)); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(30 * time.Second); pool.Evicted() == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("no session is closed")
				}
			}
			release()
			if _, text, err := other.ReadMessage(); err != nil || !strings.HasPrefix(string(text), `{"op":"published"`) {
				t.Errorf("the other client gets %s, %v", text, err)
			}
			for {
				_, _, err := stalled.ReadMessage()
				if err == nil {
					continue
				}
				if e, ok := err.(*websocket.CloseError); !ok || e.Code != websocket.CloseTryAgainLater || e.Text != "overloaded" {
					t.Errorf("the stalled client gets %v", err)
				}
				break
			}
		})
	}
}
