package scenarios_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/streams"
)

// accessSecret is what tokens are signed with.
var accessSecret = []byte("a secret of thirty-two bytes, or more")

// allowing returns the token of a user who may follow rooms.
func allowing(t *testing.T, rooms ...string) string {
	t.Helper()
	token, err := access.Mint(accessSecret, access.TokenSpec{Subject: "ann", Life: time.Hour, Scopes: access.Scopes{Subscribe: rooms}})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// put publishes n events past the edge, whose data have the word in them.
func put(t *testing.T, n *node, room, word string, count int) (ids []string) {
	t.Helper()
	drafts := make([]streams.Draft, count)
	for i := range drafts {
		drafts[i] = streams.Draft{Room: streams.Room(room), Type: "message", Data: fmt.Appendf(nil, `"%s %d"`, word, i)}
	}
	for _, r := range n.service.Publish(context.Background(), drafts) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		ids = append(ids, r.ID.String())
	}
	return ids
}

// hearStream follows over SSE and returns the ids of events up to the end of the
// replay, and the cursor there.
func hearStream(t *testing.T, n *node, token, path, cursor string) (ids []string, at string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+token)
	if cursor != "" {
		r.Header.Set("Last-Event-ID", cursor)
	}
	res, err := n.w.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
	kind := ""
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
		case "event":
			kind = value
		case "id":
			if at = value; kind == "" {
				ids = append(ids, value)
			}
		case "":
			if kind == "tidemark.live" {
				return ids, at
			}
			kind = ""
		}
	}
	t.Fatal("the stream ended within the replay")
	return nil, ""
}

// dialWith opens a WebSocket with a token.
func dialWith(t *testing.T, n *node, token string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"tidemark.v1", "tidemark.bearer." + token}, HandshakeTimeout: patience}
	ws, res, err := d.Dial("ws://"+n.addr+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	t.Cleanup(func() { ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	return ws
}

// A said is a frame of the server's.
type said struct{ Op, Code, ID, Cursor, Room string }

// converse sends a message, and returns the frames up to the first with one of the ops.
func converse(t *testing.T, ws *websocket.Conn, message string, ops ...string) (all []said) {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		t.Fatal(err)
	}
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		var f said
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		if all = append(all, f); slices.Contains(ops, f.Op) {
			return all
		}
	}
}

// A permission is taken away while its client is offline. However the client asks for
// the room then, on whichever node and transport, it gets nothing of it; when it may
// again, it gets exactly what it missed.
func TestScenario33PermissionTakenAway(t *testing.T) {
	verifier, err := access.Open(access.Options{Secrets: [][]byte{accessSecret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	matrix(t, func(t *testing.T, log string, over transport) {
		w := newWorld(t, log, func(s *setup) { s.api.Access = verifier })
		first, second := w.nodes[0], w.nodes[1]
		before := put(t, first, "den", "seen", 3)
		both := allowing(t, "den", "hall")

		var cursor string
		if over.streams() {
			var got []string
			got, cursor = hearStream(t, first, both, "/v1/rooms/den/events?since=earliest", "")
			if !slices.Equal(got, before) {
				t.Fatalf("heard %v, want %v", got, before)
			}
		} else {
			frames := converse(t, dialWith(t, first, both), `{"op":"subscribe","room":"den","since":"earliest"}`, "live", "error")
			cursor = frames[len(frames)-1].Cursor
		}
		missed := put(t, first, "den", "hidden", 5)
		put(t, second, "hall", "open", 2)

		less := allowing(t, "hall")
		for _, n := range w.nodes {
			refusedEverywhere(t, n, less, cursor, before[0])
		}
		if got, _ := hearStream(t, second, less, "/v1/rooms/hall/events", cursor); len(got) != 2 {
			t.Errorf("what is still allowed: %v", got)
		}
		if over.streams() {
			if got, _ := hearStream(t, second, both, "/v1/rooms/den/events", cursor); !slices.Equal(got, missed) {
				t.Errorf("allowed again, it gets %v, want %v", got, missed)
			}
			return
		}
		var got []string
		for _, f := range converse(t, dialWith(t, second, both), `{"op":"subscribe","room":"den","since":"`+cursor+`"}`, "live", "error") {
			if f.Op == "event" {
				got = append(got, f.ID)
			}
		}
		if !slices.Equal(got, missed) {
			t.Errorf("allowed again, it gets %v, want %v", got, missed)
		}
	})
}

// refusedEverywhere asks for den in every way there is.
func refusedEverywhere(t *testing.T, n *node, token, cursor, early string) {
	t.Helper()
	const room = "/v1/rooms/den/events"
	stream := []string{"Accept", "text/event-stream"}
	for _, ask := range []struct {
		path   string
		header []string
	}{
		{room, append(stream, "Last-Event-ID", cursor)},
		{room, append(stream, "Last-Event-ID", "earliest")},
		{room, append(stream, "Last-Event-ID", "nonsense")},
		{room + "?last_event_id=" + cursor, stream},
		{room + "?since=" + cursor, stream},
		{room + "?since=earliest", stream},
		{room + "?since=-1h", stream},
		{room + "?last=5", stream},
		{room, stream},
		{"/v1/events?room=hall&room=den", append(stream, "Last-Event-ID", cursor)},
		{"/v1/events?room=den&since=earliest", stream},
		{room, nil},
		{room + "?after=" + early, nil},
		{room + "?before=" + cursor + "&order=desc&limit=1", nil},
		{"/v1/rooms/%64en/events", nil},
	} {
		status, body, err := n.w.get("http://"+n.addr+ask.path, append([]string{"Authorization", "Bearer " + token}, ask.header...)...)
		if err != nil {
			t.Fatal(err)
		}
		if status != http.StatusForbidden || !strings.Contains(string(body), `"code":"forbidden"`) || strings.Contains(string(body), "hidden") {
			t.Errorf("%s %v: %d %s", ask.path, ask.header, status, body)
		}
	}
	ws := dialWith(t, n, token)
	for _, start := range []string{``, `,"since":"` + cursor + `"`, `,"since":"earliest"`, `,"last":5`} {
		frames := converse(t, ws, `{"op":"subscribe","room":"den"`+start+`}`, "error", "subscribed")
		if f := frames[len(frames)-1]; len(frames) != 1 || f.Code != "forbidden" || f.Room != "den" {
			t.Errorf("subscribe%s: %+v", start, frames)
		}
	}
}
