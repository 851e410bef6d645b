package api_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The small parts of a message count like messages: a client that sends more than the limit
// allows is closed, although its message never ends. Pings within the message go on.
func TestEmptyContinuationFrames(t *testing.T) {
	h := start(t, func(s *setup) { s.api.MaxMessages = 5 })
	c := h.dial()
	raw := c.NetConn()
	if _, err := raw.Write([]byte{websocket.TextMessage, 0x80, 0, 0, 0, 0}); err != nil { // not final
		t.Fatal(err)
	}
	for range 200 {
		if _, err := raw.Write([]byte{0, 0x80, 0, 0, 0, 0}); err != nil {
			break // closed
		}
	}
	if code := c.closeCode(); code != websocket.ClosePolicyViolation {
		t.Errorf("closed with %d", code)
	}
}

// A message in parts of usual size counts once.
func TestMessageInParts(t *testing.T) {
	h := start(t, func(s *setup) { s.api.MaxMessages = 1 })
	c := h.dial()
	w, err := c.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, `{"op":"publish","room":"lobby","data":"%060000d","ref":1}`, 1)
	for len(text) > 0 { // the library divides the message into frames of its buffer's size
		n := min(len(text), 1000)
		if _, err := w.Write(text[:n]); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := c.frame(); got[:17] != `{"op":"published"` {
		t.Errorf("the answer is %s", got)
	}
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(testTimeout))
}
