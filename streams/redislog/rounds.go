package redislog

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/tidemark/tidemark/streams"
)

const (
	// Any reply may hold minReply, or maxExcess times the bytes of its page. Each connection
	// receives one reply at a time, and go-redis opens 10 for each processor. So on 2
	// processors, replies in a room that is made for it hold 40 MiB.
	minReply, maxExcess = 2 << 20, 4

	// maxReply bounds a reply that takes spare memory. It is a page of 128 events of 64 KiB:
	// with less, a page of small events would take several calls.
	maxReply = 8 << 20

	// spareReplies is the memory that all replies of a log together may take above minReply
	// and maxExcess. It is enough to read five pages of 128 events at a time. When it is used
	// up, a page takes four rounds instead of one. Nothing waits.
	spareReplies = 32 << 20

	// positionBytes takes the place of the bytes of a page without data.
	positionBytes = 1 << 20

	// firstSize is the size of an event that a log expects before it has read any.
	firstSize = 128

	// sizeSlots is the number of rooms of which a log remembers the size of events: 32 KiB.
	sizeSlots = 4096
)

// replies bounds the replies to reads, and remembers how large the entries of rooms are. It is
// safe for concurrent use.
type replies struct {
	seed    maphash.Seed
	excess  atomic.Int64 // taken of spareReplies
	average atomic.Int64 // size of the entries in rooms that were not remembered
	slots   [sizeSlots]atomic.Uint64
}

func newReplies() *replies {
	r := &replies{seed: maphash.MakeSeed()}
	r.average.Store(firstSize)
	return r
}

// take takes up to n bytes of the spare memory, and returns their number.
func (r *replies) take(n int64) int64 {
	for {
		used := r.excess.Load()
		got := min(n, spareReplies-used)
		if got <= 0 {
			return 0
		}
		if r.excess.CompareAndSwap(used, used+got) {
			return got
		}
	}
}

// slot returns the place where the size of a room is remembered, and the room's mark there.
// Another room with the same place takes it over.
func (r *replies) slot(room streams.Room) (slot *atomic.Uint64, mark uint64) {
	h := maphash.String(r.seed, string(room))
	return &r.slots[h%sizeSlots], h >> 32 << 32
}

// size returns the expected size of a room's entries, and whether it was remembered.
func (r *replies) size(room streams.Room) (size int64, known bool) {
	slot, mark := r.slot(room)
	value := slot.Load()
	if size = int64(uint32(value)); size > 0 && value-uint64(size) == mark {
		return size, true
	}
	return r.average.Load(), false
}

// remember records the size of a room's entries.
func (r *replies) remember(room streams.Room, size int64) {
	if _, known := r.size(room); !known {
		average := r.average.Load()
		r.average.Store(max(1, average+(size-average)/8)) // a lost update does no harm
	}
	slot, mark := r.slot(room)
	slot.Store(mark | uint64(min(max(size, 1), 1<<32-1)))
}

// rounds decides how many entries each round of a page reads: as many as fit if they are like
// those before, unless a reply could then become too large.
type rounds struct {
	replies   *replies
	partition *partition
	room      streams.Room
	bound     int64 // of a reply without spare memory
	left      int64 // bytes that the page may still take
	expected  int64 // size of an entry, before the first was read
	entries   int64 // read so far
	size      int64 // of the entries read so far
	excess    int64 // spare memory that the last round has taken
}

// begin returns the rounds of a page. The caller must call end.
func (r *replies) begin(p *partition, room streams.Room, limit streams.ReadLimit) rounds {
	rs := rounds{replies: r, partition: p, room: room, bound: minReply, left: positionBytes}
	if !limit.WithoutData {
		rs.left = int64(limit.Bytes)
		rs.bound = max(minReply, maxExcess*rs.left)
	}
	rs.expected, _ = r.size(room)
	return rs
}

// next ends the round before, and returns the number of entries of the next round for so many
// events. It allows for entries that are a quarter smaller than expected, and for one more
// entry, which shows whether the page is complete.
func (r *rounds) next(events int) int {
	r.release()
	each, fit := r.expected, int64(1) // the first event may exceed the bytes
	if r.entries > 0 {
		each, fit = max(1, r.size/r.entries), 0
	}
	n := min(int64(events), 1+max(fit, (r.left+r.left/4)/each))
	largest := r.partition.largest.Load()
	if n*largest > r.bound {
		r.excess = r.replies.take(min(n*largest, maxReply) - r.bound)
		n = min(n, max(1, (r.bound+r.excess)/largest))
	}
	return int(n)
}

// read records an entry of that size.
func (r *rounds) read(size int) {
	r.entries++
	r.size += int64(size)
}

// take reports whether data of that size still fits into the page, and takes its bytes.
func (r *rounds) take(size int) bool {
	r.left -= int64(size)
	return r.left >= 0
}

// release gives back the spare memory of a round whose reply is not needed any more.
func (r *rounds) release() {
	r.replies.excess.Add(-r.excess)
	r.excess = 0
}

// end ends the last round.
func (r *rounds) end() {
	r.release()
	if r.entries > 0 {
		r.replies.remember(r.room, r.size/r.entries)
	}
}
