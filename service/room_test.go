package service

import (
	"runtime"
	"testing"
	"weak"

	"github.com/tidemark/tidemark/streams"
)

// A room holds little more than the events that it keeps, however many have passed.
func TestHotTailLetsGo(t *testing.T) {
	const keeps, events, lookEvery = 1000, 4000, 50
	r, o := newRoom("a", 1), Options{Hot: keeps}
	var all []weak.Pointer[streams.Event]
	for i := range events {
		e := &streams.Event{ID: streams.MakeID(uint64(i+1), 1, 0)}
		all = append(all, weak.Make(e))
		r.keepLocked(e, &o)
		if i%lookEvery > 0 {
			continue
		}
		runtime.GC()
		held := 0
		for _, e := range all {
			if e.Value() != nil {
				held++
			}
		}
		if held > keeps*9/8+lookEvery {
			t.Fatalf("after %d events, %d are held, want %d and an eighth of it", i, held, keeps)
		}
	}
	runtime.KeepAlive(r)
}
