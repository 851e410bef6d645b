package logtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// After excludes its start, includes through, stops at limit, and returns the oldest event
// first.
func testAfterBounds(t *test) {
	const n = 10
	room, other := t.room("pages"), t.room("pages-more") // a name with the same start
	var ids []streams.ID
	for i := range n {
		ids = append(ids, t.append(draft(room, i))...)
		t.append(draft(other, i))
	}
	var zero streams.ID
	tests := []struct {
		name           string
		after, through streams.ID
		limit          int
		want           []streams.ID
	}{
		{"everything", zero, end(), 100, ids},
		{"exactly the limit", zero, end(), n, ids},
		{"the first page", zero, end(), 3, ids[:3]},
		{"one", zero, end(), 1, ids[:1]},
		{"after the first", ids[0], end(), 100, ids[1:]},
		{"a page in the middle", ids[2], end(), 4, ids[3:7]},
		{"after the last", ids[n-1], end(), 100, nil},
		{"after the end", end(), end(), 100, nil},
		{"through one", ids[2], ids[5], 100, ids[3:6]},
		{"through and a limit", ids[2], ids[8], 2, ids[3:5]},
		{"through the last", ids[2], ids[n-1], 100, ids[3:]},
		{"one alone", ids[4], ids[5], 100, ids[5:6]},
		{"through itself", ids[4], ids[4], 100, nil},
		{"backwards", ids[5], ids[2], 100, nil},
		{"just before one", zero, previous(ids[3]), 100, ids[:3]},
		{"from just before one", previous(ids[3]), end(), 100, ids[3:]},
		{"up to nothing", zero, zero, 100, nil},
	}
	for _, tc := range tests {
		got := t.after(room, tc.after, tc.through, tc.limit)
		t.sameIDs(tc.name, tc.want, idsOf(got))
	}
	if got := t.after(t.room("never"), zero, end(), 10); len(got) != 0 {
		t.Errorf("a room without events returned %d", len(got))
	}
}

// Before excludes its bound and returns the newest events, oldest first.
func testBeforeBounds(t *test) {
	const n = 10
	room, other := t.room("pages"), t.room("pages-more")
	var ids []streams.ID
	for i := range n {
		ids = append(ids, t.append(draft(room, i))...)
		t.append(draft(other, i))
	}
	tests := []struct {
		name   string
		before streams.ID
		limit  int
		want   []streams.ID
	}{
		{"everything", end(), 100, ids},
		{"exactly the limit", end(), n, ids},
		{"the newest page", end(), 3, ids[n-3:]},
		{"the newest", end(), 1, ids[n-1:]},
		{"before the newest", ids[n-1], 3, ids[n-4 : n-1]},
		{"before the second", ids[1], 100, ids[:1]},
		{"before the first", ids[0], 100, nil},
		{"just after one", ids[3].Next(), 2, ids[2:4]},
		{"before everything", streams.ID{}, 100, nil},
	}
	for _, tc := range tests {
		t.sameIDs(tc.name, tc.want, idsOf(t.before(room, tc.before, tc.limit)))
	}
	if got := t.before(t.room("never"), end(), 10); len(got) != 0 {
		t.Errorf("a room without events returned %d", len(got))
	}
}

// Events are the same as their drafts, both read and live.
func testContent(t *test) {
	feed := t.record(t.Log)
	var want []streams.Draft
	for i, room := range t.oddRooms() {
		feed.join(room, uint64(i+1))
		for _, data := range oddData() {
			want = append(want, streams.Draft{Room: room, Type: "t.Y_p-3", Data: data, Retention: keep()})
		}
	}
	ids := t.append(want...)
	live := feed.events(len(want))

	for i, d := range want {
		logged := t.after(d.Room, previous(ids[i]), ids[i], 2)
		if len(logged) != 1 {
			t.Fatalf("draft %d in room %q: read %d events at its id, want 1", i, d.Room, len(logged))
		}
		t.sameContent("read", ids[i], d, logged[0])
		t.sameContent("live", ids[i], d, live[i])
		if live[i].Prev != logged[0].Prev {
			t.Errorf("draft %d: Prev is %s live and %s in the log", i, live[i].Prev, logged[0].Prev)
		}
	}
}

func (t *test) sameContent(where string, id streams.ID, d streams.Draft, e *streams.Event) {
	t.Helper()
	if e.ID != id || e.Room != d.Room || e.Type != d.Type || !bytes.Equal(e.Data, d.Data) || e.Ephemeral {
		t.Errorf("%s: event %s room %q type %q, %d bytes of data, ephemeral %v; want %s %q %q %d false, and the same bytes",
			where, e.ID, e.Room, e.Type, len(e.Data), e.Ephemeral, id, d.Room, d.Type, len(d.Data))
	}
}

// oddRooms returns rooms with every permitted character, and one with the longest name.
func (t *test) oddRooms() []streams.Room {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:=@|,~+-"
	longest := strings.Repeat("x", streams.MaxRoom-4)
	return []streams.Room{t.room("a"), t.room("@" + chars), t.room("+" + chars), t.room(longest), t.room("-")}
}

// oddData returns JSON that a careless encoding would change.
func oddData() [][]byte {
	quote := func(v string) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // a string always has a JSON form
		}
		return b
	}
	return [][]byte{
		[]byte(`null`), []byte(`0`), []byte(`""`), []byte(`{}`), []byte(`[1,2.5e300,-0]`),
		[]byte(`"žluťoučký kůň, 世界, 🌊, \u2028 \n \\ \" \u0000"`),
		[]byte("\"\u2028\u2029\u00a0\ufeff\""),
		fmt.Appendf(nil, `{"big":%s}`, quote(strings.Repeat("0123456789abcde\"", 60<<10/18))),
		quote(strings.Repeat("🌊", 15<<10)),
	}
}
