package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A roomEvent is an event as a client of several rooms receives it.
type roomEvent struct {
	room   string
	number int // its place among the events of all rooms, from 0
}

// parseRoomEvent parses the data of an event of publishNumbered.
func parseRoomEvent(t *testing.T, text string) roomEvent {
	t.Helper()
	var e struct{ Room, Data string }
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%.100q: %v", text, err)
	}
	got := roomEvent{room: e.Room}
	if _, err := fmt.Sscan(e.Data, &got.number); err != nil {
		t.Fatalf("%.100q: %v", text, err)
	}
	return got
}

// A slowClient follows several rooms from their beginning.
type slowClient struct {
	next  func() roomEvent // reads the next event
	order bool             // the events of all rooms come in one order
}

func (h *harness) slowStream(rooms []string) slowClient {
	s := h.follow("/v1/events?since=earliest&room=" + strings.Join(rooms, "&room="))
	return slowClient{order: true, next: func() roomEvent {
		for {
			switch b := s.block(); field(b, "event") {
			case "":
				return parseRoomEvent(h.t, field(b, "data"))
			case "tidemark.open", "tidemark.live":
			default:
				h.t.Fatalf("block %.200q", b)
			}
		}
	}}
}

func (h *harness) slowSocket(rooms []string) slowClient {
	d := websocket.Dialer{NetDialContext: narrow().DialContext, TLSClientConfig: h.transport.TLSClientConfig}
	c, _, err := d.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/v1/ws", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	ws := &wsClient{c, h.t}
	for _, room := range rooms {
		ws.send(`{"op":"subscribe","room":"` + room + `","since":"earliest"}`)
	}
	return slowClient{next: func() roomEvent {
		for {
			text := ws.frame()
			switch {
			case strings.HasPrefix(text, `{"op":"event"`):
				return parseRoomEvent(h.t, text)
			case strings.HasPrefix(text, `{"op":"subscribed"`), strings.HasPrefix(text, `{"op":"live"`):
			default:
				h.t.Fatalf("frame %.200q", text)
			}
		}
	}}
}

// publishNumbered publishes the event with a number, of size bytes, in the room whose turn
// it is.
func (h *harness) publishNumbered(rooms []string, number, size int) {
	room := rooms[number%len(rooms)]
	draft := streams.Draft{Room: streams.Room(room), Type: "message", Data: fmt.Appendf(nil, `"%d %s"`, number, strings.Repeat("x", size))}
	if r := h.node.Publish(h.t.Context(), []streams.Draft{draft}); r[0].Err != nil {
		h.t.Error(r[0].Err)
	}
}

// counter returns the value of a counter without labels.
func (h *harness) counter(name string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	h.t.Fatalf("no metric %s", name)
	return 0
}

// A client of several rooms that stalls until the node drops its queue and the events read
// ahead, and then reads again, gets every event once and in order. It stalls in the replay,
// where a page of each room is read ahead, and again when it is live. Events are published
// meanwhile.
func TestStalledClientResumes(t *testing.T) {
	if testing.Short() {
		t.Skip("each of 12 clients stalls for three seconds")
	}
	const (
		size   = 63 << 10
		stored = 60  // events before the client comes
		before = 30  // events that it reads before it stalls again
		queued = 8   // events published when it stalls while it is live: they fit into the queue
		total  = 160 // events
	)
	rooms := []string{"a", "b", "c", "d"}
	for _, tt := range []struct {
		name   string
		http   httpKind
		follow func(*harness, []string) slowClient
	}{
		{"stream over HTTP/1.1", httpKind{}, (*harness).slowStream},
		{"stream over HTTP/1.1 and TLS", httpKind{tls: true}, (*harness).slowStream},
		{"stream over HTTP/2", httpKind{shared: true}, (*harness).slowStream},
		{"stream over HTTP/2 and TLS", httpKind{tls: true, shared: true}, (*harness).slowStream},
		{"WebSocket", httpKind{}, (*harness).slowSocket},
		{"WebSocket over TLS", httpKind{tls: true}, (*harness).slowSocket},
	} {
		for _, hot := range []int{2, 1000} {
			t.Run(fmt.Sprintf("%s, hot %d", tt.name, hot), func(t *testing.T) {
				h := start(t, func(s *setup) {
					s.http, s.node.Hot = tt.http, hot
					s.http.narrow = true
					s.node.Retention = []service.RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: total, Age: time.Hour}}}
				})
				h.transport.DialContext = narrow().DialContext
				h.transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}
				published := 0
				publish := func(until int) {
					for ; published < until; published++ {
						h.publishNumbered(rooms, published, size)
					}
				}
				blocked := func() bool { return h.unsent("tidemark_client_memory_bytes") > 0 }
				overflows := func() float64 { return h.counter("tidemark_queue_overflows_total") }

				publish(stored)
				c := tt.follow(h, rooms)
				check := newOrderCheck(t, c.order)
				h.eventually("the replay stalls", func() bool { return blocked() && overflows() > 0 })
				publish(stored + 10)
				shed := overflows()
				for range before {
					check.add(c.next())
				}
				h.eventually("the replay stalls again", func() bool { return blocked() && overflows() > shed })
				publish(stored + 20)
				for check.n < published {
					check.add(c.next())
				}

				// Now it is live. Its queue cannot overflow on its own.
				shed = overflows()
				for !blocked() {
					publish(published + 1)
				}
				publish(published + queued)
				h.eventually("the live client stalls", func() bool { return overflows() > shed })
				done := make(chan struct{})
				go func() {
					defer close(done)
					publish(total)
				}()
				for check.n < total {
					check.add(c.next())
				}
				<-done
			})
		}
	}
}

// An orderCheck counts events and finds missing, repeated and misplaced ones.
type orderCheck struct {
	t    *testing.T
	all  bool           // the events of all rooms have one order
	next map[string]int // number of the next event of each room
	n    int
}

func newOrderCheck(t *testing.T, all bool) *orderCheck {
	return &orderCheck{t: t, all: all, next: map[string]int{"a": 0, "b": 1, "c": 2, "d": 3}}
}

func (c *orderCheck) add(e roomEvent) {
	c.t.Helper()
	if want := c.next[e.room]; e.number != want || c.all && e.number != c.n {
		c.t.Fatalf("event %d of room %s after %d events; the next one of the room is %d", e.number, e.room, c.n, want)
	}
	c.next[e.room] += len(c.next)
	c.n++
}
