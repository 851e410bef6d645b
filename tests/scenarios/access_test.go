package scenarios_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/internal/ws"
)

// accessSecret signs the tokens of these tests.
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

// put publishes count events directly into the service. Their data contain the word.
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

// replayOf follows over SSE and returns the ids of the events up to the end of the
// replay, and the cursor there.
func replayOf(t *testing.T, n *node, token, path, cursor string) (ids []string, at string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit)
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
	stream, err := follow.FromResponse(res, "room")
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Next()
		if err != nil {
			t.Fatalf("the stream ended within the replay: %v", err)
		}
		switch m.Kind {
		case follow.Event:
			ids = append(ids, m.ID)
		case follow.Live:
			return ids, m.Cursor
		}
	}
}

// dialWith opens a WebSocket with a token.
func dialWith(t *testing.T, n *node, token string) *ws.Conn {
	t.Helper()
	socket, err := ws.Dial("http://"+n.addr, ws.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	_ = socket.SetReadDeadline(time.Now().Add(wait.Limit))
	return socket
}

// converse sends a message, and returns the answers up to the first of one of the kinds.
func converse(t *testing.T, socket *ws.Conn, message string, kinds ...string) (all []follow.Message) {
	t.Helper()
	if err := socket.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		t.Fatal(err)
	}
	stream := follow.FromWebSocket(socket)
	for {
		m, err := stream.Next()
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, m); slices.Contains(kinds, m.Kind) {
			return all
		}
	}
}

// A client loses a permission while it is offline. Whichever way, node and transport it then
// uses to ask for the room, it gets nothing of it. When the permission is back, it gets
// exactly the missed events.
func TestScenario33PermissionTakenAway(t *testing.T) {
	verifier, err := access.Open(access.Options{Secrets: [][]byte{accessSecret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) { s.api.Access = verifier })
		first, second := w.nodes[0], w.nodes[1]
		before := put(t, first, "den", "seen", 3)
		both := allowing(t, "den", "hall")

		var cursor string
		if over.Streams() {
			var got []string
			got, cursor = replayOf(t, first, both, "/v1/rooms/den/events?since=earliest", "")
			if !slices.Equal(got, before) {
				t.Fatalf("received %v, want %v", got, before)
			}
		} else {
			frames := converse(t, dialWith(t, first, both), `{"op":"subscribe","room":"den","since":"earliest"}`, follow.Live, follow.Error)
			cursor = frames[len(frames)-1].Cursor
		}
		missed := put(t, first, "den", "hidden", 5)
		put(t, second, "hall", "open", 2)

		less := allowing(t, "hall")
		for _, n := range w.nodes {
			refusedEverywhere(t, n, less, cursor, before[0])
		}
		if got, _ := replayOf(t, second, less, "/v1/rooms/hall/events", cursor); len(got) != 2 {
			t.Errorf("of the rooms still allowed: %v", got)
		}
		if over.Streams() {
			if got, _ := replayOf(t, second, both, "/v1/rooms/den/events", cursor); !slices.Equal(got, missed) {
				t.Errorf("allowed again, it gets %v, want %v", got, missed)
			}
			return
		}
		var got []string
		for _, f := range converse(t, dialWith(t, second, both), `{"op":"subscribe","room":"den","since":"`+cursor+`"}`, follow.Live, follow.Error) {
			if f.Kind == follow.Event {
				got = append(got, f.ID)
			}
		}
		if !slices.Equal(got, missed) {
			t.Errorf("allowed again, it gets %v, want %v", got, missed)
		}
	})
}

// refusedEverywhere asks for den in every possible way and expects a refusal.
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
	socket := dialWith(t, n, token)
	for _, start := range []string{``, `,"since":"` + cursor + `"`, `,"since":"earliest"`, `,"last":5`} {
		frames := converse(t, socket, `{"op":"subscribe","room":"den"`+start+`}`, follow.Error, follow.Opened)
		if f := frames[len(frames)-1]; len(frames) != 1 || f.Code != "forbidden" || f.Room != "den" {
			t.Errorf("subscribe%s: %+v", start, frames)
		}
	}
}
