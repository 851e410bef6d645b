package redislog

import (
	"strconv"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
)

// However many pages are read at a time, their replies exceed minReply by spareReplies
// together, and give it back.
func TestSpareRepliesAreShared(t *testing.T) {
	replies := newReplies()
	p := newPartition(keys.New("x", 0, 0))
	limit := streams.ReadLimit{Events: 128, Bytes: 64 << 10}
	for range 3 {
		const pages = 100
		entries := make([]int, pages)
		var reading, asked sync.WaitGroup
		asked.Add(pages)
		for i := range pages {
			reading.Go(func() {
				r := replies.begin(p, "r", limit)
				defer r.end()
				entries[i] = r.next(limit.Events)
				asked.Done()
				asked.Wait() // all rounds run at the same time
			})
		}
		reading.Wait()
		excess := 0
		for _, n := range entries {
			if n < minReply/streams.DefaultMaxData || n > maxReply/streams.DefaultMaxData {
				t.Errorf("a round of %d entries", n)
			}
			excess += n*streams.DefaultMaxData - minReply
		}
		if excess > spareReplies || excess < spareReplies-pages*streams.DefaultMaxData {
			t.Errorf("%d pages exceed their bounds by %d bytes, want about %d", pages, excess, spareReplies)
		}
		if held := replies.excess.Load(); held != 0 {
			t.Errorf("%d bytes are still taken after the reads", held)
		}
	}
}

// A second round gives back what the first has taken.
func TestRoundsTakeOnce(t *testing.T) {
	replies := newReplies()
	r := replies.begin(newPartition(keys.New("x", 0, 0)), "r", streams.ReadLimit{Events: 1000, Bytes: 1 << 20})
	for range 10 {
		if n := r.next(1000); n != maxReply/streams.DefaultMaxData {
			t.Errorf("a round of %d entries", n)
		}
		r.read(100)
	}
	r.end()
	if held := replies.excess.Load(); held != 0 {
		t.Errorf("%d bytes are still taken", held)
	}
}

// A log remembers the size of each room's entries, and expects the average of the rooms that
// it reads for the first time in others.
func TestSizesAreRemembered(t *testing.T) {
	replies := newReplies()
	replies.remember("large", 1<<40)
	if size, known := replies.size("large"); !known || size != 1<<32-1 {
		t.Errorf("size %d, known %v", size, known)
	}
	replies.remember("empty", 0)
	if size, known := replies.size("empty"); !known || size != 1 {
		t.Errorf("size %d, known %v", size, known)
	}
	for i := range 10 * sizeSlots {
		replies.remember(streams.Room("r"+strconv.Itoa(i)), 8000)
	}
	known := 0
	for i := range 10 * sizeSlots {
		if size, ok := replies.size(streams.Room("r" + strconv.Itoa(i))); ok {
			known++
		} else if size < 7900 || size > 8100 {
			t.Fatalf("size %d in a room that is not remembered", size)
		}
	}
	if known < sizeSlots*9/10 || known > sizeSlots {
		t.Errorf("%d rooms are remembered, want about %d", known, sizeSlots)
	}
}
