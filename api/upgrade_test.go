package api

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gorilla/websocket"
)

// The heads of frames, where their form changes (RFC 6455, 5.2).
func TestAppendFrame(t *testing.T) {
	for size, head := range map[int]string{
		0:         "8100",
		1:         "8101",
		125:       "817d",
		126:       "817e007e",
		1<<16 - 1: "817effff",
		1 << 16:   "817f0000000000010000",
	} {
		payload := bytes.Repeat([]byte("x"), size)
		b := appendFrame([]byte("before"), websocket.TextMessage, payload)
		want := fmt.Appendf([]byte("before"), "%s", unhex(t, head))
		if !bytes.Equal(b, append(want, payload...)) {
			t.Errorf("%d bytes: the frame begins with %x, want %s", size, b[6:min(len(b), 16)], head)
		}
	}
	if b := appendFrame(nil, websocket.PingMessage, nil); !bytes.Equal(b, []byte{0x89, 0}) {
		t.Errorf("a ping is %x", b)
	}
}

func unhex(t *testing.T, s string) (b []byte) {
	t.Helper()
	if _, err := fmt.Sscanf(s, "%x", &b); err != nil {
		t.Fatal(err)
	}
	return b
}
