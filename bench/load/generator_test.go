package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A faultyServer keeps one log for all rooms and sends it over SSE. For event i it
// sends the events that fault(i) returns.
type faultyServer struct {
	fault func(i int) []int

	mu     sync.Mutex // guards the field below
	more   *sync.Cond // signals new events
	events [][]byte
}

func newFaultyServer(t *testing.T, fault func(int) []int) (addr string) {
	s := &faultyServer{fault: fault}
	s.more = sync.NewCond(&s.mu)
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		web.CloseClientConnections() // streams do not end by themselves
		web.Close()
	})
	return strings.TrimPrefix(web.URL, "http://")
}

func (s *faultyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.follow(w, r)
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, data)
	s.more.Broadcast()
	w.WriteHeader(http.StatusCreated)
}

func (s *faultyServer) follow(w http.ResponseWriter, r *http.Request) {
	stop := context.AfterFunc(r.Context(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.more.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := len(s.events)
	if _, err := fmt.Sscanf(r.Header.Get("Last-Event-ID"), "1:%d", &at); err == nil {
		at++
	}
	fmt.Fprintf(w, ": hi\nid: 1:%d\n\n", at-1)
	for r.Context().Err() == nil {
		for ; at < len(s.events); at++ {
			for _, i := range s.fault(at) {
				fmt.Fprintf(w, "data: %s\nid: 1:%d\n\n", s.events[i], i)
			}
		}
		_ = http.NewResponseController(w).Flush() // an error shows in the next write
		s.more.Wait()
	}
}

// noFault sends each event once.
func noFault(i int) []int { return []int{i} }

// atEvent3 returns a fault that replaces events 3 and 4.
func atEvent3(three, four []int) func(int) []int {
	return func(i int) []int {
		switch i {
		case 3:
			return three
		case 4:
			return four
		}
		return []int{i}
	}
}

func newGenerator(t *testing.T) *Generator {
	t.Helper()
	g, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// must executes a command and fails the test on an error.
func must(t *testing.T, g *Generator, c Command) Report {
	t.Helper()
	r, err := g.Do(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// openClients opens clients that follow room r0 on the server.
func openClients(t *testing.T, g *Generator, addr string, clients int) {
	t.Helper()
	f := Follow{Addr: addr, Protocol: SSE, Path: "/{room}"}
	must(t, g, Command{Open: &Open{Follow: f, Rooms: Room("r"), Clients: clients}})
}

func postWork(addr string) Work {
	return Work{
		To:         []Publish{{Addr: addr, How: Post, Path: "/{room}", Body: "{data}"}},
		Publishers: 1, Rooms: Room("r"),
	}
}

// Every kind of delivery fault is counted as that kind, for each client.
func TestFaultsAreCounted(t *testing.T) {
	const clients, events = 3, 10
	for _, test := range []struct {
		name  string
		fault func(int) []int
		want  Report // for one client
	}{
		{"none", noFault, Report{Delivered: events}},
		{"lost", atEvent3(nil, []int{4}), Report{Delivered: events - 1, Missing: 1}},
		{"repeated", atEvent3([]int{3, 3}, []int{4}), Report{Delivered: events, Repeated: 1}},
		{"repeated after the next", atEvent3([]int{3}, []int{4, 3}), Report{Delivered: events, Repeated: 1}},
		{"swapped", atEvent3(nil, []int{4, 3}), Report{Delivered: events, OutOfOrder: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGenerator(t)
			g.stallTimeout = 2 * time.Second // the case "lost" waits this long
			addr := newFaultyServer(t, test.fault)
			openClients(t, g, addr, clients)
			w := postWork(addr)
			w.Events = events
			r := must(t, g, Command{Work: &w})
			got := Report{Delivered: r.Delivered, Missing: r.Missing, Repeated: r.Repeated, OutOfOrder: r.OutOfOrder}
			want := test.want
			want.Delivered, want.Missing, want.Repeated, want.OutOfOrder = clients*want.Delivered, clients*want.Missing, clients*want.Repeated, clients*want.OutOfOrder
			if got != want || r.Published != events {
				t.Errorf("%d published: %+v, want %+v", r.Published, got, want)
			}
		})
	}
}

// Disconnected clients receive the events they missed, and their replays are measured.
func TestResume(t *testing.T) {
	const clients, missed = 4, 25
	g := newGenerator(t)
	addr := newFaultyServer(t, noFault)
	openClients(t, g, addr, clients)
	w := postWork(addr)
	w.Events = 1
	must(t, g, Command{Work: &w})
	must(t, g, Command{Cut: &Cut{}})
	w.Events, w.ClientsAway = missed, true
	if r := must(t, g, Command{Work: &w}); r.Missing != clients*missed {
		t.Errorf("while the clients are disconnected %d deliveries are missing, want %d", r.Missing, clients*missed)
	}
	r := must(t, g, Command{Resume: &Resume{MaxConnecting: 2}})
	if r.Delivered != clients*(missed+1) || r.Missing+r.Repeated+r.OutOfOrder != 0 {
		t.Errorf("after Resume: %+v", r)
	}
	if r.Latency.Count != clients || r.Elapsed < r.Latency.Max {
		t.Errorf("%d replays were measured, the longest %v of %v", r.Latency.Count, r.Latency.Max, r.Elapsed)
	}
}

// Clients that are disconnected repeatedly miss no event if the server loses none.
func TestUnstableConnections(t *testing.T) {
	g := newGenerator(t)
	addr := newFaultyServer(t, noFault)
	openClients(t, g, addr, 20)
	w := postWork(addr)
	w.Rate, w.Time = 200, time.Second
	w.Disconnects = &Disconnects{Up: 100 * time.Millisecond, Down: 50 * time.Millisecond}
	r := must(t, g, Command{Work: &w})
	if r.Delivered != 20*r.Published || r.Missing+r.Repeated+r.OutOfOrder != 0 {
		t.Errorf("%d published to 20 clients: %+v", r.Published, r)
	}
	if r.Cuts == 0 || r.Latency.Count == 0 {
		t.Errorf("%d connections cut, %d replays measured, want more than 0", r.Cuts, r.Latency.Count)
	}
}

// A rejected publish ends the work with an error, because the measurement would be
// wrong.
func TestRefusedPublish(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	w := postWork(strings.TrimPrefix(web.URL, "http://"))
	w.Events = 1
	if _, err := newGenerator(t).Do(Command{Work: &w}); err == nil {
		t.Error("status 404 was accepted as an acknowledgement")
	}
}

// Serve executes a sequence of commands and writes one reply for each.
func TestServe(t *testing.T) {
	in := strings.NewReader(`{"Pause":{"Time":1}} {"Work":{}} {"Reset":{}}`)
	var out strings.Builder
	if err := Serve(in, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || strings.Contains(lines[0]+lines[2], "Error") || !strings.Contains(lines[1], "Error") {
		t.Errorf("answers:\n%s", out.String())
	}
}
