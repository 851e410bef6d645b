package replay_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// Merges a thousand events of a number of rooms, from a log in memory.
func BenchmarkReader(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("rooms=%d", n), func(b *testing.B) {
			w := newWorld()
			rooms := make([]streams.Room, n)
			starts := make([]replay.RoomStart, n)
			for i := range rooms {
				rooms[i] = streams.Room(fmt.Sprint("r", i))
				starts[i] = replay.RoomStart{Room: rooms[i], Pos: w.last()}
			}
			for i := range 1000 {
				w.publish(rooms[i%n])
			}
			watermarks := w.watermarks(rooms)
			b.ReportAllocs()
			for b.Loop() {
				r := replay.NewReader(w, watermarks, starts)
				total := 0
				for {
					items, err := r.Next(context.Background(), 256, 256<<10)
					if err != nil {
						b.Fatal(err)
					}
					if len(items) == 0 {
						break
					}
					total += len(items)
				}
				if total != 1000 {
					b.Fatalf("%d events, want 1000", total)
				}
			}
		})
	}
}
