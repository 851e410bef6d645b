package redislog

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/streams"
)

func TestParseMessage(t *testing.T) {
	e, err := parseMessage("r", 3, `12-1 11-5 note {"a": "b c"}`)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != streams.MakeID(12, 1, 3) || e.Prev != streams.MakeID(11, 5, 3) ||
		e.Type != "note" || string(e.Data) != `{"a": "b c"}` || e.Ephemeral || e.Room != "r" {
		t.Errorf("parsed %+v", e)
	}
	if e, err = parseMessage("r", 3, "12-1 ~ note 1"); err != nil || !e.Ephemeral || !e.Prev.IsZero() {
		t.Errorf("parsed %+v, %v", e, err)
	}
}

// Whatever is published on our channels, it is an event of ours or an error, and
// an event says what the message said.
func FuzzParseMessage(f *testing.F) {
	f.Add("12-1 11-5 note {}")
	f.Add("12-1 ~ note 1")
	f.Add("")
	f.Add("281474976710656-0 1-1 a b")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseMessage("r", 1, s)
		if err != nil {
			return
		}
		prev := ephemeralMark
		if !e.Ephemeral {
			prev = position(e.Prev)
		}
		again, err := parseMessage("r", 1, strings.Join([]string{position(e.ID), prev, e.Type, string(e.Data)}, " "))
		if err != nil || again.ID != e.ID || again.Prev != e.Prev || again.Type != e.Type || string(again.Data) != string(e.Data) {
			t.Errorf("%q reads as %+v, and that as %+v, %v", s, e, again, err)
		}
	})
}

// Whatever is in a stream, reading it gives an event of ours or an error.
func FuzzParseEntry(f *testing.F) {
	f.Add("1-1", "prev", "0-0", "type", "t", "data", "d", 6)
	f.Add("1-1", "data", "0-0", "type", "t", "prev", "d", 5)
	f.Add("x", "", "", "", "", "", "", 0)
	f.Fuzz(func(t *testing.T, id, a, b, c, d, e, g string, n int) {
		values := []any{a, b, c, d, e, g}[:min(max(n, 0), 6)]
		for _, entry := range []any{[]any{id, values}, []any{id, nil}, []any{nil, values}, id, nil} {
			text, event, err := parseEntry("r", 0, entry)
			if err == nil && (text != id || event == nil || a != "prev" || position(event.Prev) == "") {
				t.Errorf("entry %v reads as %+v", entry, event)
			}
		}
	})
}

func TestPosition(t *testing.T) {
	for _, id := range []streams.ID{
		streams.MakeID(0, 0, 2), streams.MakeID(1<<48-1, 1<<64-1, 2), streams.MakeID(1700000000000, 7, 2),
	} {
		if got, err := parsePosition(position(id), 2); err != nil || got != id {
			t.Errorf("parsePosition(%q) = %s, %v", position(id), got, err)
		}
	}
	for _, s := range []string{"", "-", "1", "1-", "-1", "1-2-3", "281474976710656-0", "1-18446744073709551616", "a-1"} {
		if id, err := parsePosition(s, 0); err == nil {
			t.Errorf("parsePosition(%q) = %s, want an error", s, id)
		}
	}
}
