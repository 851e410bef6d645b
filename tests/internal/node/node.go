// Package node runs a whole node (log, service, HTTP edge, listener) inside a test. Tests
// that need the program as a process use tests/program.
package node

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

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/wait"
)

// Options tune a server. The zero value means the defaults.
type Options struct {
	Service *service.Options
	API     *api.Options

	// Wrap, if set, returns the handler that the listener serves in place of the edge.
	Wrap func(edge http.Handler) http.Handler
}

// A Server is one node behind a listener.
type Server struct {
	API  *api.Server
	HTTP *httptest.Server

	// Close drains the clients and stops the listener and the node, in this order. The
	// end of the test calls it too; closing again does nothing.
	Close func()
}

// Serve starts a node on log, which the caller closes after the node.
func Serve(t testing.TB, log streams.Log, o Options) *Server {
	t.Helper()
	n := service.New(log, o.Service)
	s := &Server{API: api.New(n, o.API)}
	handler := http.Handler(s.API)
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	s.HTTP = httptest.NewServer(handler)
	s.Close = sync.OnceFunc(func() {
		s.Drain(t)
		s.HTTP.Close()
		n.Close()
	})
	t.Cleanup(s.Close)
	return s
}

// Drain disconnects the clients of all listeners.
func (s *Server) Drain(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), wait.Limit)
	defer cancel()
	if err := s.API.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// Addr is the listener's address, host:port.
func (s *Server) Addr() string { return s.HTTP.Listener.Addr().String() }

// Publish publishes an event and returns its id. data is JSON.
func (s *Server) Publish(t testing.TB, room, kind, data string) (id string) {
	t.Helper()
	body := strings.NewReader(fmt.Sprintf(`{"type":%q,"data":%s}`, kind, data))
	r, err := http.Post(s.HTTP.URL+"/v1/rooms/"+room+"/events", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusCreated {
		t.Fatalf("publish: %s, %s, %v", r.Status, text, err)
	}
	var receipt struct{ ID string }
	if err := json.Unmarshal(text, &receipt); err != nil {
		t.Fatal(err)
	}
	return receipt.ID
}
