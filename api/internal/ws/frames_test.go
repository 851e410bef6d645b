package ws

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// The heads of frames at the sizes where their form changes (RFC 6455, section 5.2).
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

// The frames of docs/protocol.md, byte for byte.
func TestFrames(t *testing.T) {
	id1, id2, id3 := streams.MakeID(1<<40, 1, 0), streams.MakeID(1<<40, 2, 0), streams.MakeID(1<<40, 3, 0)
	event := &streams.Event{ID: id2, Room: "lobby", Type: "note", Data: []byte(`{"a":1}`)}
	gap := &replay.Gap{Room: "lobby", After: id1, Before: id3, Reason: replay.Trimmed}
	for got, want := range map[string]string{
		string(eventFrame(event)):            "\x81\x5c" + `{"op":"event","room":"lobby","id":"` + id2.String() + `","type":"note","data":{"a":1}}`,
		string(gapFrame(gap)):                `{"op":"gap","room":"lobby","after":"` + id1.String() + `","before":"` + id3.String() + `","reason":"trimmed"}`,
		string(liveFrame("a", 12, event.ID)): `{"op":"live","room":"a","replayed":12,"cursor":"` + id2.String() + `"}`,
		string(newFrame("pong").end(nil)):    `{"op":"pong"}`,
		string(errorFrame(&problem.Document{Code: "x", Detail: `a "b"`}, "", []byte(`2`))): `{"op":"error","code":"x","detail":"a \"b\"","ref":2}`,
		string(errorFrame(&problem.Document{Code: "x", Detail: "d"}, "lobby", nil)):        `{"op":"error","code":"x","detail":"d","room":"lobby"}`,
	} {
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
