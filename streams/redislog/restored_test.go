package redislog

import (
	"testing"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A restored log vouches for no earlier event in any of its partitions, and continues to
// work.
func TestRestored(t *testing.T) {
	server := redistest.Shared(t)
	opt := Options{URL: server.URL(), Prefix: newPrefix(), Partitions: 3}
	l := open(t, opt)
	before := make([]streams.Watermarks, opt.Partitions)
	for p := range before {
		before[p] = watermarksOf(t, l, streams.Partition(p))
	}
	if err := open(t, opt).MarkRestored(t.Context()); err != nil {
		t.Fatal(err)
	}
	for p, was := range before {
		now := watermarksOf(t, l, streams.Partition(p))
		if !was.Last.Before(now.Floor) || now.Last.Before(now.Floor) {
			t.Errorf("partition %d: floor %s, last %s: want a floor after %s", p, now.Floor, now.Last, was.Last)
		}
	}
	id := put(t, l, draft("room", "1"))
	if floor := watermarksOf(t, l, id.Partition()).Floor; !floor.Before(id) {
		t.Errorf("new id %s is not after the floor, %s", id, floor)
	}
}

func watermarksOf(t *testing.T, l *Log, p streams.Partition) streams.Watermarks {
	t.Helper()
	e, err := l.Watermarks(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
