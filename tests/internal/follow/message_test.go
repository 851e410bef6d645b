package follow

import (
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/sse"
)

// Both transports say the same in the same words.
func TestMessages(t *testing.T) {
	cases := []struct {
		name  string
		block sse.Block // of a stream for the rooms a and b
		frame string
		want  Message
	}{
		{"event", sse.Block{ID: "1", Data: `{"room":"a","data":"x"}`}, `{"op":"event","room":"a","id":"1","data":"x"}`,
			Message{Kind: Event, Room: "a", ID: "1", Data: `"x"`, Text: "x", Cursor: "1"}},
		{"gap", sse.Block{Event: "tidemark.gap", ID: "2", Data: `{"room":"a","after":"1","before":"3","reason":"trimmed"}`},
			`{"op":"gap","room":"a","after":"1","before":"3","reason":"trimmed","cursor":"2"}`,
			Message{Kind: Gap, Room: "a", After: "1", Before: "3", Reason: "trimmed", Cursor: "2"}},
		{"live", sse.Block{Event: "tidemark.live", ID: "2", Data: `{"replayed":4}`}, `{"op":"live","replayed":4,"cursor":"2"}`,
			Message{Kind: Live, Replayed: 4, Cursor: "2"}},
		{"position", sse.Block{ID: "2"}, `{"op":"position","cursor":"2"}`, Message{Kind: Position, Cursor: "2"}},
		{"error", sse.Block{Event: "tidemark.error", Data: `{"code":"draining","detail":"d"}`}, `{"op":"error","code":"draining","detail":"d"}`,
			Message{Kind: Error, Code: "draining", Detail: "d"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			block, err := parseBlock(tc.block, []string{"a", "b"})
			if block.At = (time.Time{}); err != nil || block != tc.want {
				t.Errorf("block: %+v, %v, want %+v", block, err, tc.want)
			}
			frame, err := parseFrame([]byte(tc.frame))
			if frame.At = (time.Time{}); err != nil || frame != tc.want {
				t.Errorf("frame: %+v, %v, want %+v", frame, err, tc.want)
			}
		})
	}
}

// An event of a single room comes without a wrapper, and its room from the request.
func TestEventOfSingleRoom(t *testing.T) {
	m, err := parseBlock(sse.Block{ID: "1", Data: `{"n":1}`}, []string{"a"})
	if err != nil || m.Room != "a" || m.Data != `{"n":1}` || m.Text != "" || m.Cursor != "1" {
		t.Errorf("%+v, %v", m, err)
	}
}
