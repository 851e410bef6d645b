package embedded

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemark/tidemark/streams"
)

const (
	// trimSlack is how many events a room may have beyond its cap before it is trimmed,
	// so that most appends do not have to trim. See streams.ExtraKept.
	trimSlack = 64

	// maxDeletes is how many events are deleted one by one. More are deleted as a range,
	// which makes Pebble's reads slower while it is in the memtable.
	maxDeletes = 1024

	// maxRooms bounds the room records in memory, at about 200 bytes each.
	maxRooms = 1 << 16
)

// room returns the record of a room before this write, from memory or the store.
func (w *writer) room(name streams.Room) (r roomRecord, found bool, err error) {
	if r, found = w.rooms[name]; !found {
		r, found, err = w.log.store.room(w.log.store.db, name)
	}
	r.before = r.last
	return r, found, err
}

// scheduleSweep makes sure that the sweep visits the room at ms or earlier.
func (w *writer) scheduleSweep(b *pebble.Batch, name streams.Room, r *roomRecord, ms int64) {
	if r.indexed != 0 && r.indexed <= ms {
		return // the earlier visit schedules the next one
	}
	r.indexed = ms
	w.sweepAt(b, ms, roomKey(name))
}

// putRoom adds a room's record to b.
func putRoom(b *pebble.Batch, name streams.Room, r *roomRecord) {
	op := b.SetDeferred(1+len(name), roomRecordBytes)
	op.Key[0] = kindRoom
	copy(op.Key[1:], name)
	r.encode(op.Value)
	must(op.Finish())
}

// cache keeps a record of the store in memory, and evicts others beyond maxRooms.
func (w *writer) cache(name streams.Room, r roomRecord) {
	w.rooms[name] = r
	for other := range w.rooms {
		if len(w.rooms) <= maxRooms {
			return
		}
		delete(w.rooms, other) // any record: all are in the store
	}
}

// trim removes events of the group's rooms that have grown beyond their cap. It does not
// sync: after a crash trimmed events may be back, until the next append trims them.
func (w *writer) trim() {
	b := w.log.store.db.NewBatch()
	defer b.Close()
	for name, room := range w.changed {
		if room.count <= room.capacity+trimSlack {
			continue
		}
		if err := w.deleteOldest(b, name, &room.roomRecord, room.count-room.capacity); err != nil {
			w.log.options.Logger.Error("cannot trim a room; the next append retries", "room", name, "error", err)
			continue
		}
		putRoom(b, name, &room.roomRecord)
		w.cache(name, room.roomRecord)
	}
	if b.Empty() {
		return
	}
	if err := w.log.store.commit(b, pebble.NoSync); err != nil {
		w.log.options.Logger.Error("cannot trim rooms; the next appends retry", "error", err)
	}
}

// deleteOldest adds the removal of a room's n oldest events to b. The room must have n
// events.
func (w *writer) deleteOldest(b *pebble.Batch, name streams.Room, r *roomRecord, n uint64) error {
	if n == 0 {
		return nil
	}
	lower := justAfter(name, r.trimmed)
	newest := r.last // of the removed events
	if n < r.count || n <= maxDeletes {
		id, err := w.deleteUpTo(b, lower, justAfter(name, r.last), n)
		if err != nil {
			return err
		}
		if n < r.count {
			newest = id
		}
	}
	if n > maxDeletes {
		must(b.DeleteRange(lower, justAfter(name, newest), nil))
	}
	r.trimmed = newest
	r.count -= n
	return nil
}

// deleteUpTo returns the id of the n-th event after lower. If n is at most maxDeletes, it
// also adds the removal of these n events to b.
func (w *writer) deleteUpTo(b *pebble.Batch, lower, upper []byte, n uint64) (id streams.ID, err error) {
	iter, err := w.log.store.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return streams.ID{}, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	seen := uint64(0)
	for ok := iter.First(); ok && seen < n; ok = iter.Next() {
		if id, err = eventID(iter.Key()); err != nil {
			return streams.ID{}, err
		}
		if n <= maxDeletes {
			must(b.Delete(iter.Key(), nil))
		}
		seen++
	}
	if seen < n && iter.Error() == nil {
		return streams.ID{}, fmt.Errorf("%w: the room has %d events, its record says %d or more", errCorrupt, seen, n)
	}
	return id, iter.Error()
}
