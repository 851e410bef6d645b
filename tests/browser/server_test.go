package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/api/console"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/tests/internal/node"
)

// A server is a node over the embedded log.
type server struct {
	*node.Server
	stop func() // closes the node and its log; stopping again does nothing

	mu      sync.Mutex // guards the field below
	follows []asked
}

// asked is the cursor of a request for an event stream.
type asked struct {
	header string // Last-Event-ID
	query  string // last_event_id
}

// serve starts a server on the log in dir. It ends with the test, or by stop.
func serve(t *testing.T, dir string, o *service.Options, tune ...func(*api.Options)) *server {
	t.Helper()
	log, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	edge := &api.Options{Console: console.Handler(), DrainSpread: time.Millisecond}
	for _, f := range tune {
		f(edge)
	}
	s := &server{}
	s.Server = node.Serve(t, log, node.Options{Service: o, API: edge, Wrap: s.record})
	s.stop = sync.OnceFunc(func() {
		s.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// record notes the cursors of requests for event streams.
func (s *server) record(edge http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			s.mu.Lock()
			s.follows = append(s.follows, asked{r.Header.Get("Last-Event-ID"), r.URL.Query().Get("last_event_id")})
			s.mu.Unlock()
		}
		edge.ServeHTTP(w, r)
	})
}

func (s *server) asked() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]asked(nil), s.follows...)
}

// publish publishes n numbered events, not through the browser, and returns their ids.
func (s *server) publish(t *testing.T, room string, from, n int) (ids []string) {
	t.Helper()
	for i := range n {
		ids = append(ids, s.Publish(t, room, "message", fmt.Sprintf(`{%s,"text":"from elsewhere"}`, middle(from+i))))
	}
	return ids
}

// middle is the beginning of the n-th event's data. It is inside the event, and in no other.
func middle(n int) string { return fmt.Sprintf(`"n":%d`, n) }

// history returns the ids of the room's n events after the given one.
func (s *server) history(t *testing.T, room, after string, n int) (ids []string) {
	t.Helper()
	r, err := http.Get(fmt.Sprintf("%s/v1/rooms/%s/events?after=%s&limit=%d", s.HTTP.URL, room, after, n))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var page struct{ Events []struct{ ID string } }
	if err := json.NewDecoder(r.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		ids = append(ids, e.ID)
	}
	if len(ids) != n {
		t.Fatalf("%d events after %s, want %d", len(ids), after, n)
	}
	return ids
}
