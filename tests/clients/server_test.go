package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/streams/redislog"
	"github.com/tidemark/tidemark/tests/redistest"
)

const roomPath = "/v1/rooms/lobby/events"

// logs are the logs that every client is tried on.
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

// closing closes the log at the end of the test, after what was started on it.
func closing(t *testing.T, log streams.Log) streams.Log {
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

// A server is a node with its edge, and one listener to publish through.
type server struct {
	api *api.Server
	url string
}

// serve starts a server on log. It ends with the test.
func serve(t *testing.T, log streams.Log) *server {
	t.Helper()
	node := service.New(log, nil)
	s := &server{api: api.New(node, &api.Options{
		KeepAlive:   50 * time.Millisecond, // so that blocks of an id only come in between
		DrainSpread: time.Millisecond,
	})}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.api.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		node.Close()
	})
	s.url = s.front(t).server.URL
	return s
}

// publish publishes the test's n-th event, and returns what clients should hear.
func (s *server) publish(t *testing.T, n int) heard {
	t.Helper()
	h := heard{Type: "message", Data: fmt.Sprintf(`{%s,"text":"größer 🌊 %s"}`, middle(n), strings.Repeat("x", n))}
	if n%3 == 0 {
		h.Type = "note"
	}
	body := fmt.Sprintf(`{"type":%q,"data":%s}`, h.Type, h.Data)
	r, err := http.Post(s.url+roomPath, "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusCreated {
		t.Fatalf("publish: %s, %s, %v", r.Status, answer, err)
	}
	var id struct{ ID string }
	if err := json.Unmarshal(answer, &id); err != nil {
		t.Fatal(err)
	}
	h.ID = id.ID
	return h
}

// middle is how the data of the n-th event begins: bytes inside the event, and of
// no other.
func middle(n int) string { return fmt.Sprintf(`"n":%d`, n) }

// isOwn says that a type is one of Tidemark's own.
func isOwn(kind string) bool { return strings.HasPrefix(kind, "tidemark.") }

// A front is a listener of the server that notes who asks to go on from where.
type front struct {
	server *httptest.Server

	mu      sync.Mutex // guards lastIDs
	lastIDs []string
}

func (s *server) front(t *testing.T) *front {
	f := &front{}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			f.mu.Lock()
			f.lastIDs = append(f.lastIDs, r.Header.Get("Last-Event-ID"))
			f.mu.Unlock()
		}
		s.api.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.server.CloseClientConnections() // streams do not end before the server does
		f.server.Close()
	})
	return f
}

func (f *front) addr() string { return f.server.Listener.Addr().String() }

// lastEventIDs are those of the requests to follow, in their order; empty where
// there was none.
func (f *front) lastEventIDs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.lastIDs...)
}
