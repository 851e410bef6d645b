package browser

import (
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
	"github.com/tidemark/tidemark/api/console"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams/embedded"
)

// A server is a whole node over the embedded log, on a listener of its own.
type server struct {
	http *httptest.Server
	api  *api.Server
	stop func() // closes everything, in order; again does nothing

	mu      sync.Mutex // guards follows
	follows []asked
}

// asked is where a request to follow wanted to go on from.
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
	node := service.New(log, o)
	edge := &api.Options{Console: console.Handler(), DrainSpread: time.Millisecond}
	for _, f := range tune {
		f(edge)
	}
	s := &server{api: api.New(node, edge)}
	s.http = httptest.NewServer(s)
	s.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.api.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		s.http.Close()
		node.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Accept") == "text/event-stream" {
		s.mu.Lock()
		s.follows = append(s.follows, asked{r.Header.Get("Last-Event-ID"), r.URL.Query().Get("last_event_id")})
		s.mu.Unlock()
	}
	s.api.ServeHTTP(w, r)
}

func (s *server) asked() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]asked(nil), s.follows...)
}

func (s *server) addr() string { return s.http.Listener.Addr().String() }

// publish publishes n numbered events, past the browser, and returns their ids.
func (s *server) publish(t *testing.T, room string, from, n int) (ids []string) {
	t.Helper()
	for i := range n {
		ids = append(ids, s.publishOne(t, room, "message", fmt.Sprintf(`{%s,"text":"from elsewhere"}`, middle(from+i))))
	}
	return ids
}

func (s *server) publishOne(t *testing.T, room, kind, data string) (id string) {
	t.Helper()
	r, err := http.Post(s.http.URL+"/v1/rooms/"+room+"/events", "application/json",
		strings.NewReader(fmt.Sprintf(`{"type":%q,"data":%s}`, kind, data)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusCreated {
		t.Fatalf("publish: %s, %s, %v", r.Status, body, err)
	}
	var answer struct{ ID string }
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.ID
}

// middle is how the data of the n-th event begins: bytes inside the event, and of
// no other.
func middle(n int) string { return fmt.Sprintf(`"n":%d`, n) }

// history returns the ids of the n events of the room that follow the one given.
func (s *server) history(t *testing.T, room, after string, n int) (ids []string) {
	t.Helper()
	r, err := http.Get(fmt.Sprintf("%s/v1/rooms/%s/events?after=%s&limit=%d", s.http.URL, room, after, n))
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
