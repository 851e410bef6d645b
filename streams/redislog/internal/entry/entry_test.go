package entry

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/streams"
)

func TestParseMessage(t *testing.T) {
	e, err := ParseMessage("r", 3, `12-1 11-5 note {"a": "b c"}`)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != streams.MakeID(12, 1, 3) || e.Prev != streams.MakeID(11, 5, 3) ||
		e.Type != "note" || string(e.Data) != `{"a": "b c"}` || e.Ephemeral || e.Room != "r" {
		t.Errorf("parsed %+v", e)
	}
	if e, err = ParseMessage("r", 3, "12-1 ~ note 1"); err != nil || !e.Ephemeral || !e.Prev.IsZero() {
		t.Errorf("parsed %+v, %v", e, err)
	}
}

// Any message parses as an event or returns an error. An event has the content of its
// message.
func FuzzParseMessage(f *testing.F) {
	f.Add("12-1 11-5 note {}")
	f.Add("12-1 ~ note 1")
	f.Add("")
	f.Add("281474976710656-0 1-1 a b")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseMessage("r", 1, s)
		if err != nil {
			return
		}
		prev := ephemeralMark
		if !e.Ephemeral {
			prev = Position(e.Prev)
		}
		again, err := ParseMessage("r", 1, strings.Join([]string{Position(e.ID), prev, e.Type, string(e.Data)}, " "))
		if err != nil || again.ID != e.ID || again.Prev != e.Prev || again.Type != e.Type || string(again.Data) != string(e.Data) {
			t.Errorf("%q reads as %+v, and that as %+v, %v", s, e, again, err)
		}
	})
}

// Any entry of a stream parses as an event or returns an error.
func FuzzParse(f *testing.F) {
	f.Add("1-1", "prev", "0-0", "type", "t", "data", "d", 6)
	f.Add("1-1", "data", "0-0", "type", "t", "prev", "d", 5)
	f.Add("x", "", "", "", "", "", "", 0)
	f.Fuzz(func(t *testing.T, id, a, b, c, d, e, g string, n int) {
		values := []any{a, b, c, d, e, g}[:min(max(n, 0), 6)]
		for _, entry := range []any{[]any{id, values}, []any{id, nil}, []any{nil, values}, id, nil} {
			text, event, err := Parse("r", 0, entry)
			if err == nil && (text != id || event == nil || a != "prev" || Position(event.Prev) == "") {
				t.Errorf("entry %v reads as %+v", entry, event)
			}
		}
	})
}

func TestPosition(t *testing.T) {
	for _, id := range []streams.ID{
		streams.MakeID(0, 0, 2), streams.MakeID(1<<48-1, 1<<64-1, 2), streams.MakeID(1700000000000, 7, 2),
	} {
		if got, err := ParsePosition(Position(id), 2); err != nil || got != id {
			t.Errorf("ParsePosition(%q) = %s, %v", Position(id), got, err)
		}
	}
	for _, s := range []string{"", "-", "1", "1-", "-1", "1-2-3", "281474976710656-0", "1-18446744073709551616", "a-1"} {
		if id, err := ParsePosition(s, 0); err == nil {
			t.Errorf("ParsePosition(%q) = %s, want an error", s, id)
		}
	}
}

const traceparent = streams.Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

// Any trace message parses as the trace of an event, or returns an error and nothing else.
func FuzzParseTrace(f *testing.F) {
	f.Add("trace 12-1 " + string(traceparent))
	f.Add("trace 12-1")
	f.Add("trace ")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseTrace(1, s)
		if err != nil && n != (Trace{}) {
			t.Errorf("%q reads as %+v, %v", s, n, err)
		}
		if again, err2 := ParseTrace(1, traceMark+Position(n.ID)+" "+string(n.Trace)); err == nil && (err2 != nil || again != n) {
			t.Errorf("%q reads as %+v, and that as %+v, %v", s, n, again, err2)
		}
	})
}
