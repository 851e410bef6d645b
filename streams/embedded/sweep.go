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
	// maxSwept and maxSweptEvents bound one step of the sweep, since appends wait
	// while it runs: some milliseconds.
	maxSwept       = 256
	maxSweptEvents = 4096
)

// sweep is where the writer stands in removing what has expired.
type sweep struct {
	due bool

	// from is the key that the next step starts at. Starting at the beginning
	// would lead through the remains of all entries swept before.
	from []byte
}

// sweepAt has the sweep look at record, the key of a record, once ms has come.
func (w *writer) sweepAt(b *pebble.Batch, ms int64, record []byte) {
	key := expiryKey(ms, record)
	if bytes.Compare(key, w.sweep.from) < 0 { // the clock stepped back
		w.sweep.from = key
	}
	must(b.Set(key, nil, nil))
}

// sweepStep looks at some of the records whose time has come. None of it needs a
// sync: after a crash it is done again.
func (w *writer) sweepStep() {
	w.now = w.log.options.Now()
	b := w.log.store.db.NewBatch()
	defer b.Close()
	dropped, err := w.sweepInto(b)
	if err == nil && !b.Empty() {
		// The horizon rises before the records go: see Log.Edges.
		if w.log.dropped.Load().Before(dropped) {
			must(b.Set(metaDropped, dropped[:], nil))
			w.log.dropped.Store(&dropped)
		}
		err = w.log.store.commit(b, pebble.NoSync)
	}
	if err != nil {
		w.sweep.due = false // try again when it is due again
		w.log.options.Logger.Error("remove what has expired", "error", err)
	}
}

// sweepInto puts the changes of one step into b, and returns the newest id whose
// tail record goes.
func (w *writer) sweepInto(b *pebble.Batch) (dropped streams.ID, err error) {
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
			// What can't be read can't be swept either. It stays; the rest goes on.
			w.log.options.Logger.Error("sweep", "key", fmt.Sprintf("%q", entry), "error", err)
		}
		events += s.events
		dropped = streams.Later(dropped, s.record)
		must(b.Delete(entry, nil))
		w.sweep.from = append(entry, 0)
	}
	return dropped, nil
}

// swept is what looking at one entry removed.
type swept struct {
	events uint64
	record streams.ID // the last id of the tail record
}

// dueEntries returns the keys of the next entries whose time has come.
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

// sweepKey removes an idempotency record, unless the key was used again since.
func (w *writer) sweepKey(b *pebble.Batch, ms int64, key []byte) error {
	r, found, err := w.log.store.key(key)
	if err == nil && found && r.expires == ms {
		must(b.Delete(key, nil))
	}
	return err
}

// sweepRoom removes the events of a room that has been quiet for its age, and
// later its record. Until then it sees to it that it is called again.
func (w *writer) sweepRoom(b *pebble.Batch, ms int64, name streams.Room, s *swept) error {
	r, found, err := w.room(name)
	if err != nil || !found || r.indexed != ms {
		return err // another entry is the room's now
	}
	next := r.expires
	if r.expired(w.now) {
		s.events = r.count
		if err := w.drop(b, name, &r, r.count); err != nil {
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
	w.index(b, name, &r, next)
	putRoom(b, name, &r)
	w.cache(name, r)
	return nil
}
