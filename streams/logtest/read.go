package logtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// After excludes after, includes through, stops at limit, and goes upwards.
func testAfterBounds(s *suite) {
	const n = 10
	room, other := s.room("pages"), s.room("pages-more") // a name that starts alike
	var ids []streams.ID
	for i := range n {
		ids = append(ids, s.append(draft(room, i))...)
		s.append(draft(other, i))
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
		{"just before one", zero, before(ids[3]), 100, ids[:3]},
		{"from just before one", before(ids[3]), end(), 100, ids[3:]},
		{"up to nothing", zero, zero, 100, nil},
	}
	for _, tc := range tests {
		got := s.after(room, tc.after, tc.through, tc.limit)
		s.sameIDs(tc.name, tc.want, idsOf(got))
	}
	if got := s.after(s.room("never"), zero, end(), 10); len(got) != 0 {
		s.Errorf("a room that never was has %d events", len(got))
	}
}

// Before excludes before, gives the newest, and goes upwards all the same.
func testBeforeBounds(s *suite) {
	const n = 10
	room, other := s.room("pages"), s.room("pages-more")
	var ids []streams.ID
	for i := range n {
		ids = append(ids, s.append(draft(room, i))...)
		s.append(draft(other, i))
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
		s.sameIDs(tc.name, tc.want, idsOf(s.before(room, tc.before, tc.limit)))
	}
	if got := s.before(s.room("never"), end(), 10); len(got) != 0 {
		s.Errorf("a room that never was has %d events", len(got))
	}
}

// before returns the position right before id.
func before(id streams.ID) streams.ID {
	if id.Seq() == 0 {
		return streams.MakeID(id.Millis()-1, 1<<64-1, id.Partition())
	}
	return streams.MakeID(id.Millis(), id.Seq()-1, id.Partition())
}

// What is read, what goes live and what was appended are the same.
func testContent(s *suite) {
	feed := s.listen(s.Log)
	var want []streams.Draft
	for i, room := range s.oddRooms() {
		feed.join(room, uint64(i+1))
		for _, data := range oddData() {
			want = append(want, streams.Draft{Room: room, Type: "t.Y_p-3", Data: data, Retention: keep()})
		}
	}
	ids := s.append(want...)
	live := feed.events(len(want))

	for i, d := range want {
		logged := s.after(d.Room, before(ids[i]), ids[i], 2)
		if len(logged) != 1 {
			s.Fatalf("draft %d in room %q: read %d events at its id, want 1", i, d.Room, len(logged))
		}
		s.sameContent("read", ids[i], d, logged[0])
		s.sameContent("live", ids[i], d, live[i])
		if live[i].Prev != logged[0].Prev {
			s.Errorf("draft %d: Prev is %s live and %s in the log", i, live[i].Prev, logged[0].Prev)
		}
	}
}

func (s *suite) sameContent(where string, id streams.ID, d streams.Draft, e *streams.Event) {
	s.Helper()
	if e.ID != id || e.Room != d.Room || e.Type != d.Type || !bytes.Equal(e.Data, d.Data) || e.Ephemeral {
		s.Errorf("%s: event %s room %q type %q, %d bytes of data, ephemeral %v; want %s %q %q %d false, and the same bytes",
			where, e.ID, e.Room, e.Type, len(e.Data), e.Ephemeral, id, d.Room, d.Type, len(d.Data))
	}
}

// oddRooms has every character that a room's name may have, and the longest name.
func (s *suite) oddRooms() []streams.Room {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:=@|,~+-"
	longest := strings.Repeat("x", streams.MaxRoom-4)
	return []streams.Room{s.room("a"), s.room("@" + chars), s.room("+" + chars), s.room(longest), s.room("-")}
}

// oddData has what a careless encoding breaks.
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
