package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemark/tidemark/streams"
)

const (
	// maxSwept and maxSweptEvents bound one step of the sweep to a few milliseconds,
	// because appends wait while it runs.
	maxSwept       = 256
	maxSweptEvents = 4096
)

// sweep is the progress of the removal of expired data.
type sweep struct {
	due bool // a step may find expired entries

	// from is the expiry key at which the next step starts. Starting at the first key
	// would read over the tombstones of all earlier entries.
	from []byte
}

// sweepAt schedules a visit of the sweep to a record at time ms. record is its key.
func (w *writer) sweepAt(b *pebble.Batch, ms int64, record []byte) {
	key := expiryKey(ms, record)
	if bytes.Compare(key, w.sweep.from) < 0 { // the clock stepped back
		w.sweep.from = key
	}
	must(b.Set(key, nil, nil))
}

// sweepStep visits some of the records that are due. It does not sync, because a crash
// only causes the step to be repeated.
func (w *writer) sweepStep() {
	w.now = w.log.options.Now()
	b := w.log.store.db.NewBatch()
	defer b.Close()
	deleted, err := w.sweepInto(b)
	if err == nil && !b.Empty() {
		// Readers must see this before the records disappear: see Log.Watermarks.
		if w.log.unrecordedBefore.Load().Before(deleted) {
			must(b.Set(metaUnrecordedBefore, deleted[:], nil))
			w.log.unrecordedBefore.Store(&deleted)
		}
		err = w.log.store.commit(b, pebble.NoSync)
	}
	if err != nil {
		w.sweep.due = false // retry after SweepEvery
		w.log.options.Logger.Error("cannot remove expired data; will retry", "error", err)
	}
}

// sweepInto adds the changes of one step to b. It returns the newest id of the tail records
// that b deletes.
func (w *writer) sweepInto(b *pebble.Batch) (deleted streams.ID, err error) {
	entries, err := w.dueEntries()
	if err != nil {
		return streams.ID{}, err
	}
	w.sweep.due = len(entries) == maxSwept
	events := uint64(0)
	for _, entry := range entries {
		if events >= maxSweptEvents {
			w.sweep.due = true
			break
		}
		s := swept{}
		if err := w.sweepEntry(b, entry, &s); err != nil {
			// An unreadable record stays in the store, and the sweep continues.
			w.log.options.Logger.Error("cannot sweep a record; it stays in the log", "key", fmt.Sprintf("%q", entry), "error", err)
		}
		events += s.events
		deleted = streams.Later(deleted, s.record)
		must(b.Delete(entry, nil))
		w.sweep.from = append(entry, 0)
	}
	return deleted, nil
}

// swept counts what the visit to one entry removed.
type swept struct {
	events uint64
	record streams.ID // last id of the deleted tail record, or zero
}

// dueEntries returns the next expiry keys that are due, at most maxSwept.
func (w *writer) dueEntries() (entries [][]byte, err error) {
	from := w.sweep.from
	if from == nil {
		from = []byte{kindExpiry}
	}
	to := expiryKey(w.now.UnixMilli()+1, nil)
	if bytes.Compare(from, to) >= 0 {
		return nil, nil
	}
	iter, err := w.log.store.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for ok := iter.First(); ok && len(entries) < maxSwept; ok = iter.Next() {
		entries = append(entries, slices.Clone(iter.Key()))
	}
	return entries, iter.Error()
}

func (w *writer) sweepEntry(b *pebble.Batch, entry []byte, s *swept) error {
	ms, record, err := parseExpiryKey(entry)
	if err != nil {
		return err
	}
	switch record[0] {
	case kindKey:
		return w.sweepKey(b, ms, record)
	case kindRoom:
		return w.sweepRoom(b, ms, streams.Room(record[1:]), s)
	}
	return fmt.Errorf("%w: expiry of a record of kind %q", errCorrupt, record[0])
}

// sweepKey removes an idempotency record unless the key was used again after it expired.
func (w *writer) sweepKey(b *pebble.Batch, ms int64, key []byte) error {
	r, found, err := w.log.store.key(key)
	if err == nil && found && r.expires == ms {
		must(b.Delete(key, nil))
	}
	return err
}

// sweepRoom removes the events of a room when they have expired, and its record TailLife
// later. Before that it schedules the next visit.
func (w *writer) sweepRoom(b *pebble.Batch, ms int64, name streams.Room, s *swept) error {
	r, found, err := w.room(name)
	if err != nil || !found || r.indexed != ms {
		return err // another entry has replaced this one
	}
	next := r.expires
	if r.expired(w.now) {
		s.events = r.count
		if err := w.deleteOldest(b, name, &r, r.count); err != nil {
			return err
		}
		next += w.log.options.TailLife.Milliseconds()
	}
	if next <= w.now.UnixMilli() {
		s.record = r.last
		must(b.Delete(roomKey(name), nil))
		delete(w.rooms, name)
		return nil
	}
	r.indexed = 0
	w.scheduleSweep(b, name, &r, next)
	putRoom(b, name, &r)
	w.cache(name, r)
	return nil
}
