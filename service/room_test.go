package service

import (
	"reflect"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
)

// A hot tail holds little more memory than its events need, after any number of events.
func TestHotTailLetsGo(t *testing.T) {
	const keeps, events, lookEvery = 1000, 4000, 50
	tail := hotTail{memory: newMemory(1 << 30)}
	var all []weak.Pointer[streams.Event]
	for i := range events {
		e := &streams.Event{ID: streams.MakeID(uint64(i+1), 1, 0)}
		all = append(all, weak.Make(e))
		tail.add(e, keeps)
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
			t.Fatalf("after %d events, %d are in memory, want %d and an eighth of it", i, held, keeps)
		}
	}
	runtime.KeepAlive(&tail)
}

// A node without connections keeps nothing of the rooms that it has left in memory.
func TestRoomsAreLetGoOf(t *testing.T) {
	log, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n := New(log, &Options{CheckEvery: time.Millisecond, Linger: 20 * time.Millisecond})
	defer n.Close()
	s, err := n.Subscribe(t.Context(), []streams.Room{"a"}, replay.Now(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	room := weak.Make(n.pumps[0].registry.lookup("a"))
	s.Close()
	for deadline := time.Now().Add(20 * time.Second); room.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the node still holds the room")
		}
		time.Sleep(time.Millisecond)
	}
}

// The fields of a Subscription that every offer uses lie within 64 bytes, the length of a
// cache line.
func TestOfferUsesFewCacheLines(t *testing.T) {
	sub := reflect.TypeFor[Subscription]()
	first, _ := sub.FieldByName("mu")
	for _, name := range []string{"notified", "closed", "queue"} {
		f, ok := sub.FieldByName(name)
		if !ok || f.Offset < first.Offset || f.Offset-first.Offset > 64-3*8 { // a slice has 3 words
			t.Errorf("field %s is %d bytes after mu", name, f.Offset-first.Offset)
		}
	}
}
