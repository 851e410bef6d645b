package sse

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// testID returns the id with sequence n in partition p.
func testID(n uint64, p streams.Partition) streams.ID { return streams.MakeID(1<<40, n, p) }

func eventItem(n uint64, p streams.Partition, kind, data string) replay.Item {
	id := testID(n, p)
	return replay.Item{
		Event: &streams.Event{ID: id, Room: "lobby", Type: kind, Data: []byte(data)},
		Place: id, Position: id,
	}
}

func gapItem() replay.Item {
	pos := testID(2, 0)
	return replay.Item{
		Gap:   &replay.Gap{Room: "lobby", After: testID(1, 0), Before: testID(3, 0), Reason: replay.Trimmed},
		Place: pos, Position: pos,
	}
}

const (
	id1 = "01000000000000000000002000" // testID(1, 0)
	id2 = "01000000000000000000004000"
	id3 = "01000000000000000000006000"
)

// The blocks of docs/protocol.md, byte for byte.
func TestBlocks(t *testing.T) {
	initial := replay.CursorAt(testID(1, 0))
	wide := replay.CursorAt(testID(1, 0), testID(1, 1))
	second := wide.With(testID(2, 0)).String()
	behind := eventItem(3, 0, "message", `1`)
	behind.Position = testID(2, 0) // a gap of another room has the same place

	tests := []struct {
		name    string
		wrapped bool
		initial replay.Cursor
		encode  func(*encoder) []byte
		want    string
	}{
		{"event", false, initial, items(eventItem(2, 0, "message", `{"text":"hi"}`)),
			"data: {\"text\":\"hi\"}\nid: " + id2 + "\n\n"},
		{"event with a type", false, initial, items(eventItem(2, 0, "note", `1`)),
			"event: note\ndata: 1\nid: " + id2 + "\n\n"},
		{"event of several rooms", true, initial, items(eventItem(2, 0, "note", `1`)),
			"event: note\ndata: {\"room\":\"lobby\",\"data\":1}\nid: " + id2 + "\n\n"},
		{"event of several partitions", true, wide, items(eventItem(2, 0, "message", `1`)),
			"data: {\"room\":\"lobby\",\"data\":1}\nid: " + second + "\n\n"},
		{"event beside a gap", true, initial, items(behind),
			"data: {\"room\":\"lobby\",\"data\":1}\nid: " + id2 + "\n\n"},
		{"event beside a gap of one room", false, initial, items(behind),
			"data: 1\nid: " + id2 + "\n\n"},
		{"gap", false, initial, items(gapItem()),
			"event: tidemark.gap\ndata: {\"room\":\"lobby\",\"after\":\"" + id1 + "\",\"before\":\"" + id3 + "\",\"reason\":\"trimmed\"}\nid: " + id2 + "\n\n"},
		{"gap over several partitions", true, wide, items(gapItem()),
			"event: tidemark.gap\ndata: {\"room\":\"lobby\",\"after\":\"" + id1 + "\",\"before\":\"" + id3 + "\",\"reason\":\"trimmed\"}\nid: " + second + "\n\n"},
		{"live", false, initial, func(e *encoder) []byte { return e.live(nil, 12) },
			"event: tidemark.live\ndata: {\"replayed\":12}\nid: " + id1 + "\n\n"},
		{"position", false, initial, func(e *encoder) []byte { return e.position(nil) },
			"id: " + id1 + "\n\n"},
		{"comment", false, initial, func(*encoder) []byte { return appendComment(nil) },
			":\n\n"},
		{"error", false, initial, func(*encoder) []byte { return appendError(nil, &problem.Document{Code: "draining", Detail: `a "b"`}) },
			"event: tidemark.error\ndata: {\"code\":\"draining\",\"detail\":\"a \\\"b\\\"\"}\n\n"},
	}
	for _, tt := range tests {
		for range 2 { // the second time the encoded event is cached
			if got := string(tt.encode(newEncoder(tt.wrapped, tt.initial))); got != tt.want {
				t.Errorf("%s:\n%q\nwant\n%q", tt.name, got, tt.want)
			}
		}
	}
}

func items(its ...replay.Item) func(*encoder) []byte {
	return func(e *encoder) (b []byte) {
		for _, it := range its {
			b = e.item(b, it)
		}
		return b
	}
}

func TestOpenBlock(t *testing.T) {
	e := newEncoder(true, replay.CursorAt(testID(1, 0)))
	retry, rest, _ := strings.Cut(string(e.open(nil, "n1", []streams.Room{"lobby", "$all"})), "\n")
	if !strings.HasPrefix(retry, "retry: ") || len(retry) != len("retry: 2350") || retry < "retry: 2000" || retry >= "retry: 3000" {
		t.Errorf("retry line %q", retry)
	}
	if want := "event: tidemark.open\ndata: {\"node\":\"n1\",\"rooms\":[\"lobby\",\"$all\"]}\nid: " + id1 + "\n\n"; rest != want {
		t.Errorf("%q, want %q", rest, want)
	}
}

// Every id line has the client's cursor after its block, over all partitions.
func TestCursorOfSeveralPartitions(t *testing.T) {
	initial := replay.CursorAt(testID(1, 0), testID(1, 1))
	e := newEncoder(true, initial)
	b := items(eventItem(5, 1, "message", `1`), eventItem(7, 0, "message", `2`))(e)
	b = e.live(b, 2)
	want := initial
	for i, id := range []streams.ID{testID(5, 1), testID(7, 0)} {
		want = want.With(id)
		if got := strings.Split(string(b), "\n\n")[i]; !strings.HasSuffix(got, "\nid: "+want.String()) {
			t.Errorf("block %d: %q, want the id %s", i, got, want)
		}
	}
	if !strings.HasSuffix(string(b), "event: tidemark.live\ndata: {\"replayed\":2}\nid: "+want.String()+"\n\n") {
		t.Errorf("live block of %q", b)
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, wrapped := range map[string]bool{"room": false, "rooms": true} {
		b.Run(name, func(b *testing.B) {
			e := newEncoder(wrapped, replay.CursorAt(testID(1, 0)))
			it := eventItem(2, 0, "message", `{"text":"`+strings.Repeat("a", 100)+`"}`)
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = e.item(buf[:0], it)
			}
		})
	}
}
