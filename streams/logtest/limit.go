package logtest

import (
	"slices"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// A read returns events until the next one would exceed its bytes or its number of events,
// in both directions. More says that it ended there.
func testReadLimit(t *test) {
	const largest = streams.DefaultMaxData
	tests := []struct {
		name  string
		sizes []int // of the room's data, in the order in which the read meets them
		limit streams.ReadLimit
		want  int
		more  bool
	}{
		{"everything", []int{100, 100, 100}, streams.ReadLimit{Events: 10, Bytes: 1000}, 3, false},
		{"exactly the bytes", []int{100, 100, 100}, streams.ReadLimit{Events: 10, Bytes: 300}, 3, false},
		{"exactly the bytes of some", []int{100, 100, 100}, streams.ReadLimit{Events: 10, Bytes: 200}, 2, true},
		{"one byte less", []int{100, 100, 100}, streams.ReadLimit{Events: 10, Bytes: 199}, 1, true},
		{"the first exceeds the bytes", []int{500, 10}, streams.ReadLimit{Events: 10, Bytes: 100}, 1, true},
		{"the only one exceeds the bytes", []int{500}, streams.ReadLimit{Events: 10, Bytes: 100}, 1, false},
		{"a later one exceeds the bytes", []int{10, 500, 10}, streams.ReadLimit{Events: 10, Bytes: 100}, 1, true},
		{"no bytes", []int{100, 100}, streams.ReadLimit{Events: 10}, 1, true},
		{"one event", []int{500, 10}, streams.ReadLimit{Events: 1, Bytes: 100}, 1, true},
		{"no events", []int{100, 100}, streams.ReadLimit{Bytes: 1000}, 0, false},
		{"events before bytes", same(5, 10), streams.ReadLimit{Events: 3, Bytes: 1000}, 3, true},
		{"exactly the events", same(3, 10), streams.ReadLimit{Events: 3, Bytes: 1000}, 3, true},
		{"many small ones", same(200, 50), streams.ReadLimit{Events: 1000, Bytes: 120*50 + 49}, 120, true},
		{"large after small", append(same(40, 50), same(40, largest)...), streams.ReadLimit{Events: 1000, Bytes: 256 << 10}, 43, true},
		{"the largest", same(40, largest), streams.ReadLimit{Events: 1000, Bytes: 1 << 20}, 16, true},
		{"without data", same(40, largest), streams.ReadLimit{Events: 1000, Bytes: 1, WithoutData: true}, 40, false},
		{"some without data", same(40, 50), streams.ReadLimit{Events: 33, WithoutData: true}, 33, true},
	}
	for i, tc := range tests {
		rooms := t.rooms("limit-"+string(rune('a'+i)), 2)
		ids := t.append(sized(rooms[0], tc.sizes)...)
		page, err := t.Log.After(t.ctx, rooms[0], streams.ID{}, end(), tc.limit)
		if err != nil || page.More != tc.more {
			t.Errorf("%s: After gives More %v, %v; want %v", tc.name, page.More, err, tc.more)
		}
		t.sameIDs("After, "+tc.name, ids[:tc.want], idsOf(page.Events))
		t.sized("After, "+tc.name, page, tc.sizes, tc.limit)

		slices.Reverse(tc.sizes)
		ids = t.append(sized(rooms[1], tc.sizes)...)
		page, err = t.Log.Before(t.ctx, rooms[1], end(), tc.limit)
		if err != nil || page.More != tc.more {
			t.Errorf("%s: Before gives More %v, %v; want %v", tc.name, page.More, err, tc.more)
		}
		t.sameIDs("Before, "+tc.name, ids[len(ids)-tc.want:], idsOf(page.Events))
		t.sized("Before, "+tc.name, page, tc.sizes[len(ids)-tc.want:], tc.limit)
		t.chained("Before, "+tc.name, page.Events)
	}
}

// Reading page by page, each bounded in bytes, gives every event once, in both directions.
func testReadPages(t *test) {
	room := t.room("pages-of-bytes")
	var sizes []int
	for i := range 150 {
		sizes = append(sizes, 10+i*i%3000)
	}
	ids := t.append(sized(room, sizes)...)
	limit := streams.ReadLimit{Events: 40, Bytes: 8000}

	var forwards, backwards []streams.ID
	for from, more := (streams.ID{}), true; more; {
		page, err := t.Log.After(t.ctx, room, from, end(), limit)
		if err != nil || page.More && len(page.Events) == 0 {
			t.Fatalf("After %s: %d events, More %v, %v", from, len(page.Events), page.More, err)
		}
		forwards = append(forwards, idsOf(page.Events)...)
		from, more = forwards[len(forwards)-1], page.More
	}
	t.sameIDs("forwards", ids, forwards)

	for before, more := end(), true; more; {
		page, err := t.Log.Before(t.ctx, room, before, limit)
		if err != nil || page.More && len(page.Events) == 0 {
			t.Fatalf("Before %s: %d events, More %v, %v", before, len(page.Events), page.More, err)
		}
		backwards = append(idsOf(page.Events), backwards...)
		before, more = backwards[0], page.More
	}
	t.sameIDs("backwards", ids, backwards)
}

// sized checks the data of a page whose drafts had data of these sizes.
func (t *test) sized(what string, page streams.Page, sizes []int, limit streams.ReadLimit) {
	t.Helper()
	for i, e := range page.Events[:min(len(page.Events), len(sizes))] {
		switch {
		case e.Type != streams.DefaultType || e.Prev.IsZero() || !e.Prev.Before(e.ID):
			t.Errorf("%s: event %d has type %q and Prev %s", what, i, e.Type, e.Prev)
		case limit.WithoutData && e.Data != nil:
			t.Errorf("%s: event %d has %d bytes of data, want nil", what, i, len(e.Data))
		case !limit.WithoutData && len(e.Data) != sizes[i]:
			t.Errorf("%s: event %d has %d bytes of data, want %d", what, i, len(e.Data), sizes[i])
		}
	}
}

// sized returns drafts for room with data of these sizes, at least 2 bytes.
func sized(room streams.Room, sizes []int) []streams.Draft {
	all := make([]streams.Draft, len(sizes))
	for i, size := range sizes {
		all[i] = draft(room, i)
		all[i].Data = []byte(`"` + strings.Repeat("x", size-2) + `"`)
	}
	return all
}

// same returns n times size.
func same(n, size int) []int { return slices.Repeat([]int{size}, n) }
