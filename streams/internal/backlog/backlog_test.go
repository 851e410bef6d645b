package backlog

import (
	"testing"

	"pgregory.net/rapid"
)

// The bytes are those of the messages in the channel, however sends and receives alternate.
func TestBytesAreThoseOfTheChannel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		channel := make(chan int, rapid.IntRange(1, 5).Draw(t, "capacity"))
		b := New(cap(channel))
		want := 0
		for _, size := range rapid.SliceOf(rapid.IntRange(-1, 9)).Draw(t, "steps") {
			switch {
			case size >= 0 && len(channel) < cap(channel):
				channel <- size
				b.Add(size)
				want += size
			case size < 0 && len(channel) > 0:
				want -= <-channel
			}
			if rapid.Bool().Draw(t, "look") {
				if got := b.Bytes(len(channel)); got != want {
					t.Fatalf("%d bytes of %d messages, want %d", got, len(channel), want)
				}
			}
		}
	})
}
