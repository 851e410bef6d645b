package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

func TestFollowToTheByte(t *testing.T) { eachHTTP(t, testFollowToTheByte) }

func testFollowToTheByte(t *testing.T, over func(*setup)) {
	h := start(t, over)
	ids := h.publishMany("lobby", 2)
	s := h.follow("/v1/rooms/lobby/events?last_event_id=" + ids[0])
	for name, want := range map[string]string{
		"Content-Type":      "text/event-stream",
		"Cache-Control":     "no-store, no-transform",
		"X-Accel-Buffering": "no",
		"Vary":              "Accept",
	} {
		if got := s.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	_, open, _ := strings.Cut(s.block(), "\n")
	if want := "event: tidemark.open\ndata: {\"node\":\"n1\",\"rooms\":[\"lobby\"]}\nid: " + ids[0] + "\n"; open != want {
		t.Errorf("open:\n%swant:\n%s", open, want)
	}
	s.expect("data: 2\nid: " + ids[1] + "\n")
	s.expect("event: tidemark.live\ndata: {\"replayed\":1}\nid: " + ids[1] + "\n")
	id := h.publish("lobby", `{"text":"hi"}`)
	s.expect("data: {\"text\":\"hi\"}\nid: " + id + "\n")
}

// One stream follows the named rooms, among them an inbox, and the broadcast room.
func TestFollowRooms(t *testing.T) { eachHTTP(t, testFollowRooms) }

func testFollowRooms(t *testing.T, over func(*setup)) {
	h := start(t, over)
	s := h.follow("/v1/events?room=lobby&room=@ann&room=lobby")
	if open := s.block(); field(open, "data") != `{"node":"n1","rooms":["lobby","@ann","$all"]}` {
		t.Errorf("open:\n%s", open)
	}
	if got := s.events(); got != nil {
		t.Errorf("replayed %v", got)
	}
	h.publish("hall", "0")
	for _, room := range []string{"lobby", "@ann", "$all"} {
		id := h.publish(room, "1")
		s.expect("data: {\"room\":\"" + room + "\",\"data\":1}\nid: " + id + "\n")
	}
	all := h.follow("/v1/events")
	if open := all.block(); field(open, "data") != `{"node":"n1","rooms":["$all"]}` {
		t.Errorf("open without rooms:\n%s", open)
	}
}

// The start position of a stream, and which of several wins.
func TestStart(t *testing.T) { eachHTTP(t, testStart) }

func testStart(t *testing.T, over func(*setup)) {
	h := start(t, over)
	ids := h.publishMany("lobby", 4)
	future := streams.MakeID(1<<47, 0, 0).String()
	for _, tt := range []struct{ query, header, want string }{
		{"", "", ""},
		{"?since=now", "", ""},
		{"?since=earliest", "", "1 2 3 4"},
		{"?since=" + ids[1], "", "3 4"},
		{"?since=-15m", "", "[reset] 1 2 3 4"}, // from before there was a log
		{"?since=2020-01-01T00:00:00%2B02:00", "", "[reset] 1 2 3 4"},
		{"?since=2020-01-01T00:00:00+02:00", "", "[reset] 1 2 3 4"}, // the plus is not escaped
		{"?since=2120-01-01T00:00:00Z", "", ""},
		{"?since=yesterday", "", "[unknown] 1 2 3 4"},
		{"?last=1", "", "4"},
		{"?last=1000", "", "1 2 3 4"},
		{"?last_event_id=earliest", "", "1 2 3 4"},
		{"?last_event_id=" + ids[2], "", "4"},
		{"?last_event_id=junk", "", "[unknown] 1 2 3 4"},
		{"", "earliest", "1 2 3 4"},
		{"", ids[3], ""},
		{"", strings.ToLower(ids[2]), "4"},
		{"", "junk", "[unknown] 1 2 3 4"},
		{"", strings.Repeat("9", 60<<10), "[unknown] 1 2 3 4"},
		{"", ids[0] + "." + ids[1], "[unknown] 1 2 3 4"},
		{"", future, "[reset]"},

		{"?last_event_id=" + ids[0], ids[2], "4"}, // the header, then the query's own id
		{"?since=earliest&last_event_id=" + ids[2], "", "4"},
		{"?since=earliest&last=1", "", "1 2 3 4"},
		{"?last_event_id=&since=&last=2", "", "3 4"}, // empty counts as absent
	} {
		path := "/v1/rooms/lobby/events" + tt.query
		s := h.follow(path, "Last-Event-ID", tt.header)
		s.opened()
		if got := strings.Join(s.events(), " "); got != tt.want {
			t.Errorf("%s, header %.40q: %q, want %q", path, tt.header, got, tt.want)
		}
		s.body.Close()
	}
}

func TestFollowRefuses(t *testing.T) { eachHTTP(t, testFollowRefuses) }

func testFollowRefuses(t *testing.T, over func(*setup)) {
	h := start(t, over, func(s *setup) { s.api.MaxRooms = 2 })
	for path, code := range map[string]string{
		"/v1/rooms/lobby/events?last=0":    "last-invalid",
		"/v1/rooms/lobby/events?last=1001": "last-invalid",
		"/v1/rooms/lobby/events?last=-1":   "last-invalid",
		"/v1/rooms/lobby/events?last=x":    "last-invalid",
		"/v1/rooms/a*/events":              "room-invalid",
		"/v1/events?room=a&room=b%2F":      "room-invalid",
		"/v1/events?room=":                 "room-invalid",
		"/v1/events?room=a&room=b&room=c":  "too-many-rooms",
	} {
		a := h.request("GET", path, "", "Accept", "text/event-stream")
		if p := a.problem(t); a.status != http.StatusBadRequest || p.Code != code {
			t.Errorf("%s: %d %s, want %s", path, a.status, p.Code, code)
		}
	}
}

// P6: a client that has received no event has a cursor.
func TestResumeFromOpening(t *testing.T) { eachHTTP(t, testResumeFromOpening) }

func testResumeFromOpening(t *testing.T, over func(*setup)) {
	h := start(t, over)
	s := h.follow("/v1/rooms/lobby/events")
	cursor := s.opened()
	s.body.Close()
	h.publishMany("lobby", 2)
	s = h.follow("/v1/rooms/lobby/events", "Last-Event-ID", cursor)
	s.opened()
	got := s.events()
	for len(got) < 2 { // events that have not reached the node arrive live
		got = append(got, field(s.block(), "data"))
	}
	if !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("after the opening: %v", got)
	}
}

// Every id that a stream has sent resumes it right after its block.
func TestResumeAnywhere(t *testing.T) { eachHTTP(t, testResumeAnywhere) }

func testResumeAnywhere(t *testing.T, over func(*setup)) {
	h := start(t, over)
	h.publishMany("a", 3)
	h.publishMany("b", 3)
	path := "/v1/events?room=a&room=b&since=earliest"
	s := h.follow(path)
	cursors, all := []string{s.opened()}, []string{}
	for len(all) < 6 {
		b := s.block()
		all = append(all, field(b, "data"))
		cursors = append(cursors, field(b, "id"))
	}
	for i, cursor := range cursors {
		again := h.follow(path, "Last-Event-ID", cursor)
		again.opened()
		if got := again.events(); !slices.Equal(got, all[i:]) {
			t.Errorf("after %d: %v, want %v", i, got, all[i:])
		}
		again.body.Close()
	}
}

// At the boundary of the retained events, exactly the clients that may have missed events get
// a gap notice.
func TestResumeAtTheEdges(t *testing.T) { eachHTTP(t, testResumeAtTheEdges) }

func testResumeAtTheEdges(t *testing.T, over func(*setup)) {
	h := start(t, over, func(s *setup) {
		s.node.Retention = []service.RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: 2, Age: time.Hour}}}
	})
	ids := h.publishMany("lobby", 2*streams.ExtraKept)
	kept := h.history("lobby", "?limit=1000").ids()
	first := slices.Index(ids, kept[0])
	if first < 2 {
		t.Fatalf("the log kept all but %d of %d", first, len(ids))
	}
	for name, tt := range map[string]struct {
		cursor string
		gaps   int
		events int
	}{
		"the newest":                  {ids[len(ids)-1], 0, 0},
		"the first kept":              {ids[first], 0, len(kept) - 1},
		"the last trimmed":            {ids[first-1], 0, len(kept)},
		"one before the last trimmed": {ids[first-2], 1, len(kept)},
	} {
		s := h.follow("/v1/rooms/lobby/events", "Last-Event-ID", tt.cursor)
		s.opened()
		got := s.events()
		gaps := 0
		if len(got) > 0 && got[0] == "[trimmed]" {
			gaps++
		}
		if gaps != tt.gaps || len(got)-gaps != tt.events {
			t.Errorf("%s: %d gaps and %d events, want %d and %d", name, gaps, len(got)-gaps, tt.gaps, tt.events)
		}
	}
}

// A client that is disconnected within a block has not moved its cursor past it, because the
// id line comes last. Here the id of the first event counts.
func TestDisconnectInABlock(t *testing.T) { eachHTTP(t, testDisconnectInABlock) }

func testDisconnectInABlock(t *testing.T, over func(*setup)) {
	h := start(t, over)
	ids := h.publishMany("lobby", 3)
	s := h.follow("/v1/rooms/lobby/events?since=earliest")
	s.opened()
	first := s.block()
	for _, part := range []string{"data: 2\n", "id: " + ids[1][:10]} {
		got := make([]byte, len(part))
		if _, err := io.ReadFull(s.reader, got); err != nil || string(got) != part {
			t.Fatalf("%q, %v, want %q", got, err, part)
		}
	}
	s.body.Close()
	s = h.follow("/v1/rooms/lobby/events", "Last-Event-ID", field(first, "id"))
	s.opened()
	if got := s.events(); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("after the disconnect: %v", got)
	}
}

// The cursor of a quiet stream moves forward with the log, without events.
func TestKeepAliveMovesTheCursor(t *testing.T) { eachHTTP(t, testKeepAliveMovesTheCursor) }

func testKeepAliveMovesTheCursor(t *testing.T, over func(*setup)) {
	h := start(t, over, func(s *setup) {
		s.api.KeepAlive = time.Millisecond
		s.node.CheckEvery = time.Millisecond
	})
	s := h.follow("/v1/rooms/quiet/events")
	s.opened()
	if got := s.events(); got != nil {
		t.Fatal(got)
	}
	newest := h.publish("busy", "1")
	for {
		b := s.block()
		if b == ":\n" {
			continue // the node does not know its position at every moment
		}
		if b != "id: "+field(b, "id")+"\n" {
			t.Fatalf("block %q, want an id line only", b)
		}
		if field(b, "id") >= newest {
			return
		}
	}
}

// While the log does not answer, a new stream gets an error block, because a browser
// reconnects only after a stream. An invalid request is refused for good.
func TestConnectWithoutALog(t *testing.T) { eachHTTP(t, testConnectWithoutALog) }

func testConnectWithoutALog(t *testing.T, over func(*setup)) {
	h := start(t, over)
	h.log.watermarksDown.Store(true)
	s := h.follow("/v1/rooms/lobby/events?since=earliest")
	b := s.block()
	if !strings.HasPrefix(b, "retry: ") || field(b, "event") != "tidemark.error" || field(b, "id") != "" ||
		field(b, "data") != `{"code":"log-unavailable","detail":"the log cannot be reached"}` {
		t.Errorf("block:\n%s", b)
	}
	s.expect("")
	if a := h.request("GET", "/v1/rooms/a*/events", "", "Accept", "text/event-stream"); a.status != http.StatusBadRequest {
		t.Errorf("an invalid room: %d", a.status)
	}
}

// An open stream survives an outage of the log: it gets one error block, and the missing
// events when the log is back.
func TestOutage(t *testing.T) { eachHTTP(t, testOutage) }

func testOutage(t *testing.T, over func(*setup)) {
	h := start(t, over, func(s *setup) {
		s.node.Hot = 1 // so that most must be read from the log
		s.api.KeepAlive = time.Millisecond
	})
	h.publishMany("lobby", 3)
	h.log.readsDown.Store(true)
	s := h.follow("/v1/rooms/lobby/events?since=earliest")
	s.opened()
	s.expect("event: tidemark.error\ndata: {\"code\":\"log-unavailable\",\"detail\":\"the log cannot be reached\"}\n")
	for range 3 {
		s.expect(":\n") // no position is known, but the connection is kept alive
	}
	h.log.readsDown.Store(false)
	var got []string
	for len(got) < 3 {
		if b := s.block(); b != ":\n" {
			got = append(got, field(b, "data"))
		}
	}
	if !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("after the outage: %v", got)
	}
}

// P7: a client that stops reading, until the node has published more than all buffers hold,
// and then continues gets every event in order.
func TestStalledClient(t *testing.T) { eachHTTP(t, testStalledClient) }

func testStalledClient(t *testing.T, over func(*setup)) {
	h := start(t, over)
	s := h.follow("/v1/rooms/lobby/events")
	s.opened()
	const n = 900 // times 16 KiB: more than the sockets' buffers, less than the room keeps
	h.fill("lobby", n, 16<<10)
	for i := 0; i < n; {
		b := s.block()
		if field(b, "event") == "tidemark.live" {
			continue
		}
		if want := fmt.Sprintf(`"%d `, i); !strings.HasPrefix(field(b, "data"), want) {
			t.Fatalf("block %.80q, want event %d", b, i)
		}
		i++
	}
}

// Shutdown sends clients to another node and waits for them. New clients are rejected.
func TestDraining(t *testing.T) { eachHTTP(t, testDraining) }

func testDraining(t *testing.T, over func(*setup)) {
	h := start(t, over)
	s := h.follow("/v1/rooms/lobby/events")
	s.opened()
	s.events()
	id := h.publish("lobby", "1")
	if err := h.api.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.expect("data: 1\nid: " + id + "\n")
	for _, s := range []*sse{s, h.follow("/v1/rooms/lobby/events")} {
		b := s.block()
		if !strings.HasPrefix(b, "retry: ") || field(b, "event") != "tidemark.error" || !strings.Contains(b, `"code":"draining"`) || field(b, "id") != "" {
			t.Errorf("block:\n%s", b)
		}
		s.expect("")
	}
	for _, path := range []string{"/v1/rooms/lobby/events", "/v1/events", "/v1/broadcast", "/v1/users/ann/events"} {
		a := h.request("POST", path, `{"data":1}`)
		if p := a.problem(t); a.status != http.StatusServiceUnavailable || p.Code != "draining" || a.header.Get("Retry-After") == "" {
			t.Errorf("POST %s: %d %s", path, a.status, p.Code)
		}
	}
}

// A client that reads nothing does not delay Shutdown beyond its context.
func TestShutdownCutsTheStalled(t *testing.T) { eachHTTP(t, testShutdownCutsTheStalled) }

func testShutdownCutsTheStalled(t *testing.T, over func(*setup)) {
	h := start(t, over)
	h.follow("/v1/rooms/lobby/events").opened()
	h.fill("lobby", 400, 60<<10)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.api.Shutdown(ctx); err != context.Canceled {
		t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
	}
}

// The gauges return to 0, however a connection ends.
func TestConnectionsAreCounted(t *testing.T) { eachHTTP(t, testConnectionsAreCounted) }

func testConnectionsAreCounted(t *testing.T, over func(*setup)) {
	h := start(t, over)
	for i := range 20 {
		s := h.follow("/v1/events?room=lobby")
		if i%2 == 0 {
			s.opened()
		}
		s.body.Close()
		c := h.dial()
		if i%2 == 0 {
			c.send(`{"op":"subscribe","room":"lobby"}`)
		}
		c.Close()
	}
	if err := h.api.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	page := h.request("GET", "/metrics", "").body
	for _, gauge := range []string{
		`tidemark_connections{transport="sse"} 0`,
		`tidemark_connections{transport="websocket"} 0`,
		`tidemark_subscriptions 0`,
	} {
		if !strings.Contains(page, gauge+"\n") {
			t.Errorf("not %s", gauge)
		}
	}
}
