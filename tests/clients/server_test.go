package clients

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/streams/redislog"
	"github.com/tidemark/tidemark/tests/internal/node"
	"github.com/tidemark/tidemark/tests/redistest"
)

const (
	room     = "lobby"
	roomPath = "/v1/rooms/" + room + "/events"
)

// logs are the logs that every client is tested on.
var logs = map[string]func(*testing.T) streams.Log{
	"embedded": func(t *testing.T) streams.Log {
		log, err := embedded.Open(t.TempDir(), embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return closing(t, log)
	},
	"redis": func(t *testing.T) streams.Log {
		log, err := redislog.Open(context.Background(), redislog.Options{URL: redistest.Start(t).URL()})
		if err != nil {
			t.Fatal(err)
		}
		return closing(t, log)
	},
}

// closing closes the log at the end of the test, after everything that uses it.
func closing(t *testing.T, log streams.Log) streams.Log {
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

// A server is a node. Its own listener is for publishing; clients follow through fronts.
type server struct{ *node.Server }

// serve starts a server on log. It ends with the test.
func serve(t *testing.T, log streams.Log) server {
	t.Helper()
	return server{node.Serve(t, log, node.Options{API: &api.Options{
		KeepAlive:   50 * time.Millisecond, // sends blocks that have only an id
		DrainSpread: time.Millisecond,
	}})}
}

// publish publishes the test's n-th event, and returns the event that clients must receive.
func (s server) publish(t *testing.T, n int) heard {
	t.Helper()
	h := heard{Type: "message", Data: fmt.Sprintf(`{%s,"text":"größer 🌊 %s"}`, middle(n), strings.Repeat("x", n))}
	if n%3 == 0 {
		h.Type = "note"
	}
	h.ID = s.Publish(t, room, h.Type, h.Data)
	return h
}

// middle is the beginning of the n-th event's data. It is inside the event, and in no other.
func middle(n int) string { return fmt.Sprintf(`"n":%d`, n) }

// isOwn reports whether a type is one of Tidemark's own.
func isOwn(kind string) bool { return strings.HasPrefix(kind, "tidemark.") }

// A front is a listener of the server that records the cursors of requests.
type front struct {
	server *httptest.Server

	mu      sync.Mutex // guards lastIDs
	lastIDs []string
}

func (s server) front(t *testing.T) *front {
	f := &front{}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			f.mu.Lock()
			f.lastIDs = append(f.lastIDs, r.Header.Get("Last-Event-ID"))
			f.mu.Unlock()
		}
		s.API.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.server.CloseClientConnections() // streams end only with the server or their connection
		f.server.Close()
	})
	return f
}

func (f *front) addr() string { return f.server.Listener.Addr().String() }

// lastEventIDs returns the Last-Event-ID of each request to follow, in order; "" for none.
func (f *front) lastEventIDs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.lastIDs...)
}
