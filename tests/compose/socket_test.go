package compose

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// patience bounds a wait that only a hang makes long.
	patience = time.Minute
	// again is how long a socket waits before it comes back.
	again = 100 * time.Millisecond
)

// A listener follows a room over WebSocket, and comes back with its cursor when
// the connection breaks: what an application does, in few lines.
type listener struct {
	t    *testing.T
	url  string
	room string

	heard chan string   // ids of events
	got   []string      // those that await has taken
	done  chan struct{} // closed at the end of the test

	mu   sync.Mutex      // guards conn
	conn *websocket.Conn // nil between two connections
}

// listen follows room from since until the test ends.
func listen(t *testing.T, url, room, since string) *listener {
	t.Helper()
	l := &listener{t: t, url: "ws" + strings.TrimPrefix(url, "http") + "/v1/ws", room: room, heard: make(chan string, 64), done: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { l.run(since) })
	t.Cleanup(func() {
		close(l.done)
		l.hangUp()
		running.Wait()
	})
	return l
}

// await waits for n events in all, and returns their ids.
func (l *listener) await(n int) []string {
	l.t.Helper()
	limit := time.After(patience)
	for len(l.got) < n {
		select {
		case id := <-l.heard:
			l.got = append(l.got, id)
		case <-limit:
			l.t.Fatalf("%d events over WebSocket, want %d", len(l.got), n)
		}
	}
	return l.got
}

func (l *listener) run(cursor string) {
	for {
		cursor = l.follow(cursor)
		select {
		case <-l.done:
			return
		case <-time.After(again):
		}
	}
}

// message is what these tests read of a frame.
type message struct {
	Op, ID, Cursor, Detail string
}

// follow follows over one connection, and returns the cursor to come back with.
func (l *listener) follow(cursor string) string {
	conn := l.dial()
	if conn == nil {
		return cursor
	}
	defer conn.Close()
	subscribe := map[string]string{"op": "subscribe", "room": l.room, "since": cursor}
	if conn.WriteJSON(subscribe) != nil {
		return cursor
	}
	for {
		var m message
		if conn.ReadJSON(&m) != nil {
			return cursor
		}
		switch {
		case m.Op == "event":
			select {
			case l.heard <- m.ID:
			case <-l.done:
				return cursor
			}
			cursor = m.ID
		case m.Op == "gap" || m.Op == "error":
			l.t.Errorf("WebSocket: %+v", m)
		case m.Cursor != "":
			cursor = m.Cursor
		}
	}
}

// dial returns a connection, or nil if there is none to be had just now.
func (l *listener) dial() *websocket.Conn {
	dialer := websocket.Dialer{Subprotocols: []string{"tidemark.v1"}, HandshakeTimeout: patience}
	conn, res, err := dialer.Dial(l.url, nil)
	if err != nil {
		return nil
	}
	res.Body.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		conn.Close()
		return nil
	default:
	}
	l.conn = conn
	return conn
}

// hangUp ends the connection that stands, if one does.
func (l *listener) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.Close()
	}
}
