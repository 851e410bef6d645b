package api

import (
	"io"
	"testing"

	"github.com/tidemark/tidemark/limits"
)

// A scriptedBody delivers bytes in pieces and calls then[i] after piece i.
type scriptedBody struct {
	pieces []int
	then   []func()
	next   int
}

func (b *scriptedBody) Read(p []byte) (int, error) {
	if b.next == len(b.pieces) {
		return 0, io.EOF
	}
	n := min(len(p), b.pieces[b.next])
	if b.pieces[b.next] -= n; b.pieces[b.next] == 0 {
		b.then[b.next]()
		b.next++
	}
	return n, nil
}

// A body makes progress with each 64 KiB that arrive, also while its memory does not grow.
// Smaller pieces do not count, because a slow client sends them too.
func TestBodyProgress(t *testing.T) {
	for name, tt := range map[string]struct {
		piece int
		loses bool
	}{
		"64 KiB": {64 << 10, false},
		"1 byte": {1, true},
	} {
		pool := limits.NewMemoryPool(3 << 20)
		otherLost := false
		m := &bodyMemory{pool: pool}
		nothing := func() {}
		body := &scriptedBody{
			pieces: []int{600 << 10, 1, tt.piece, 1}, // the memory does not grow after the first
			then: []func(){
				nothing,
				func() { pool.Hold(1<<20, func() { otherLost = true }) },
				nothing,
				func() { pool.Hold(3<<20/2, nothing) }, // one of the two must go
			},
		}
		_, err := m.read(body, 900<<10, 1<<20)
		if lost := err != nil; lost != tt.loses || otherLost == tt.loses {
			t.Errorf("progress by %s: %v, the other body lost its memory: %v", name, err, otherLost)
		}
		m.release()
	}
}
