package embedded

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemark/tidemark/streams"
)

const (
	// maxGroup and maxGroupBytes bound what shares one sync: enough that the sync
	// costs little per event, and few enough that the first need not wait long
	// for the last to be copied.
	maxGroup      = 1024
	maxGroupBytes = 8 << 20

	// trimSlack is how far a room may grow past its cap before it is trimmed, so
	// that most appends need not look for what to trim. See streams.ExtraKept.
	trimSlack = 64

	// maxDeletes is how many events are deleted one by one; more go as a range.
	// Pebble reads slow down with every range that waits in its memtable.
	maxDeletes = 1024

	// maxRooms bounds the room records held in memory, at some 200 bytes each.
	maxRooms = 1 << 16

	// reserved is how far ahead the ceiling is set when ephemeral events need
	// it, so that they cost one sync in so long and not one each. After a crash
	// ids start up to so far in the future.
	reserved = time.Second
)

// A writer makes every change to the store. All of it belongs to its goroutine.
type writer struct {
	log     *Log
	last    streams.ID // the newest id handed out
	ceiling streams.ID // no id beyond it may be handed out before it is raised on the disk
	rooms   map[streams.Room]roomRecord
	sweep   sweep

	// The group being written.
	now       time.Time
	batch     *pebble.Batch
	touched   map[streams.Room]*touchedRoom
	keys      map[string]keyRecord // by the record's key
	events    []*streams.Event
	ephemeral bool // one of events is
}

// A touchedRoom is the record of a room that the group changes.
type touchedRoom struct {
	roomRecord
	capacity uint64 // of the newest draft
}

func newWriter(l *Log, ceiling streams.ID) *writer {
	return &writer{
		log:     l,
		last:    ceiling,
		ceiling: ceiling,
		rooms:   map[streams.Room]roomRecord{},
		touched: map[streams.Room]*touchedRoom{},
		keys:    map[string]keyRecord{},
	}
}

// run writes what comes until the log is closed, and sweeps in between.
func (w *writer) run() {
	defer close(w.log.stopped)
	ticker := time.NewTicker(w.log.options.SweepEvery)
	defer ticker.Stop()
	always := make(chan struct{})
	close(always)
	for {
		var more <-chan struct{} // nil: a receive that is never ready
		if w.sweep.due {
			more = always
		}
		select {
		case r := <-w.log.queue:
			w.write(w.collect(r))
		case <-ticker.C:
			w.sweep.due = true
		case <-more:
			w.sweepStep()
		case <-w.log.done:
			return
		}
	}
}

// collect returns r and what waits behind it, up to the bounds of a group.
func (w *writer) collect(r *request) []*request {
	group := []*request{r}
	for drafts, bytes := len(r.drafts), r.bytes; drafts < maxGroup && bytes < maxGroupBytes; {
		select {
		case r := <-w.log.queue:
			group = append(group, r)
			drafts += len(r.drafts)
			bytes += r.bytes
		default:
			return group
		}
	}
	return group
}

// write stores a group with one sync, then lets it be read, trims, goes live,
// and answers, in that order.
func (w *writer) write(group []*request) {
	w.begin()
	defer w.finish()
	for _, r := range group {
		w.stageAll(r)
	}
	if err := w.commit(); err != nil {
		w.fail(group, err)
		return
	}
	w.keep()
	w.log.feeds.publish(w.events)
	for _, r := range group {
		close(r.answered)
	}
}

func (w *writer) begin() {
	w.now = w.log.options.Now()
	w.batch = w.log.store.db.NewBatch()
}

func (w *writer) finish() {
	w.batch.Close() // its error is that of a second Close
	w.batch = nil
	clear(w.touched)
	clear(w.keys)
	clear(w.events) // do not hold on to events that nobody else needs
	w.events = w.events[:0]
	w.ephemeral = false
}

func (w *writer) stageAll(r *request) {
	for i := range r.drafts {
		var print [16]byte
		if r.prints != nil {
			print = r.prints[i]
		}
		r.receipts[i] = w.stage(&r.drafts[i], print)
	}
}

// stage puts a draft into the batch, if it is new and nothing is against it.
func (w *writer) stage(d *streams.Draft, print [16]byte) streams.Receipt {
	if err := w.log.store.failed(); err != nil {
		return refused(err)
	}
	safe := streams.Fsynced // whatever less was asked for
	switch {
	case d.Retention.Events == 0:
		safe = 0
	case d.Durability == streams.Replicated:
		return streams.Receipt{Err: fmt.Errorf("%w: the embedded log has no replicas", streams.ErrDurability)}
	}
	var key []byte
	if d.Key != "" {
		key = idempotencyKey(d.Room, d.Key)
		switch known, found, err := w.known(key); {
		case err != nil:
			return refused(err)
		case found && known.print != print:
			return streams.Receipt{Err: streams.ErrKeyReused}
		case found:
			return streams.Receipt{ID: known.id, Replayed: true, Durability: safe}
		}
	}
	e := &streams.Event{Room: d.Room, Type: d.Type, Data: d.Data, Ephemeral: d.Retention.Events == 0, Trace: d.Trace}
	if err := w.place(e, d.Retention); err != nil {
		return refused(err)
	}
	if key != nil {
		w.remember(key, keyRecord{id: e.ID, print: print})
	}
	w.events = append(w.events, e)
	return streams.Receipt{ID: e.ID, Durability: safe}
}

func refused(err error) streams.Receipt {
	return streams.Receipt{Err: fmt.Errorf("%w: %w", streams.ErrRefused, err)}
}

// known returns the record of an idempotency key that has not expired.
func (w *writer) known(key []byte) (keyRecord, bool, error) {
	if r, found := w.keys[string(key)]; found {
		return r, true, nil
	}
	r, found, err := w.log.store.key(key)
	return r, found && r.expires > w.now.UnixMilli(), err
}

func (w *writer) remember(key []byte, r keyRecord) {
	r.expires = w.now.Add(w.log.options.KeyLife).UnixMilli()
	w.keys[string(key)] = r
	op := w.batch.SetDeferred(len(key), keyRecordBytes)
	copy(op.Key, key)
	r.encode(op.Value)
	must(op.Finish())
	w.sweepAt(w.batch, r.expires, key)
}

// must checks the error of adding to a batch. There is none: a batch without an
// index is memory only.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// place gives e its id, and unless it is ephemeral its Prev and its place in the
// batch. After an error nothing has changed.
func (w *writer) place(e *streams.Event, keep streams.Retention) error {
	if e.Ephemeral {
		w.ephemeral = true
		e.ID = w.nextID()
		return nil
	}
	room, err := w.touch(e.Room)
	if err != nil {
		return err
	}
	e.ID, e.Prev = w.nextID(), room.last
	op := w.batch.SetDeferred(eventKeyBytes(e.Room), eventBytes(e))
	putEventKey(op.Key, e.Room, e.ID)
	encodeEvent(op.Value, e)
	must(op.Finish())

	room.last = e.ID
	room.count++
	room.capacity = uint64(keep.Events)
	room.expires = w.now.Add(keep.Age).UnixMilli()
	return nil
}

// nextID is after every id handed out before, and at the clock's time where that
// allows. No id has sequence zero, which streams.IDAt takes for the position
// before its moment.
func (w *writer) nextID() streams.ID {
	w.last = streams.Later(w.last, streams.IDAt(w.now, 0)).Next()
	return w.last
}

// touch returns the record of a room that the group is about to add to.
func (w *writer) touch(name streams.Room) (*touchedRoom, error) {
	if room := w.touched[name]; room != nil {
		return room, nil
	}
	r, found, err := w.room(name)
	if err != nil {
		return nil, err
	}
	if !found {
		// What came before this moment may be unknown; the room starts here.
		r.last = w.origin()
		r.trimmed = r.last
	}
	if r.count > 0 && r.expired(w.now) {
		if err := w.drop(w.batch, name, &r, r.count); err != nil {
			return nil, err
		}
	}
	room := &touchedRoom{roomRecord: r}
	w.touched[name] = room
	return room, nil
}

// room returns the record of a room, from memory or the store, as it is before
// this write.
func (w *writer) room(name streams.Room) (r roomRecord, found bool, err error) {
	if r, found = w.rooms[name]; !found {
		r, found, err = w.log.store.room(w.log.store.db, name)
	}
	r.before = r.last
	return r, found, err
}

// origin is the Prev of a room's first event.
func (w *writer) origin() streams.ID {
	return streams.Later(w.log.store.floor, *w.log.dropped.Load())
}

// commit makes the group durable, and then readable.
func (w *writer) commit() error {
	for name, room := range w.touched {
		w.index(w.batch, name, &room.roomRecord, room.expires)
		putRoom(w.batch, name, &room.roomRecord)
	}
	ceiling := w.raise()
	if !w.batch.Empty() {
		if err := w.log.store.commit(w.batch, pebble.Sync); err != nil {
			return err
		}
	}
	w.ceiling = ceiling
	for name, room := range w.touched {
		w.cache(name, room.roomRecord)
	}
	last := w.last
	w.log.durable.Store(&last)
	return nil
}

// raise puts a new ceiling into the batch if ids of the group pass the old one,
// and returns the one that will hold.
func (w *writer) raise() streams.ID {
	if !w.ceiling.Before(w.last) {
		return w.ceiling
	}
	ceiling := w.last
	if w.ephemeral {
		ceiling = streams.IDAt(ceiling.Time().Add(reserved), 0)
	}
	must(w.batch.Set(metaCeiling, ceiling[:], nil))
	return ceiling
}

// index makes sure that the sweep looks at the room in time.
func (w *writer) index(b *pebble.Batch, name streams.Room, r *roomRecord, ms int64) {
	if r.indexed != 0 && r.indexed <= ms {
		return // it will look, and come back if that is too early
	}
	r.indexed = ms
	w.sweepAt(b, ms, roomKey(name))
}

func putRoom(b *pebble.Batch, name streams.Room, r *roomRecord) {
	op := b.SetDeferred(1+len(name), roomRecordBytes)
	op.Key[0] = kindRoom
	copy(op.Key[1:], name)
	r.encode(op.Value)
	must(op.Finish())
}

// cache remembers a record that is in the store.
func (w *writer) cache(name streams.Room, r roomRecord) {
	w.rooms[name] = r
	for other := range w.rooms {
		if len(w.rooms) <= maxRooms {
			return
		}
		delete(w.rooms, other) // any: the store has them all
	}
}

// fail answers a group that may or may not be on the disk. It never goes live
// and is never read; its ids are not used again.
func (w *writer) fail(group []*request, err error) {
	err = fmt.Errorf("%w: %w", streams.ErrUnavailable, err)
	for _, r := range group {
		for i := range r.receipts {
			if r.receipts[i].Err == nil {
				r.receipts[i] = streams.Receipt{Err: err}
			}
		}
		close(r.answered)
	}
}

// keep trims the rooms of the group that have outgrown their cap. It needs no
// sync: a crash may bring trimmed events back, and the next append trims them.
func (w *writer) keep() {
	b := w.log.store.db.NewBatch()
	defer b.Close()
	for name, room := range w.touched {
		if room.count <= room.capacity+trimSlack {
			continue
		}
		if err := w.drop(b, name, &room.roomRecord, room.count-room.capacity); err != nil {
			w.log.options.Logger.Error("trim a room", "room", name, "error", err)
			continue
		}
		putRoom(b, name, &room.roomRecord)
		w.cache(name, room.roomRecord)
	}
	if b.Empty() {
		return
	}
	if err := w.log.store.commit(b, pebble.NoSync); err != nil {
		w.log.options.Logger.Error("trim rooms", "error", err)
	}
}

// drop removes the n oldest events of a room that has as many.
func (w *writer) drop(b *pebble.Batch, name streams.Room, r *roomRecord, n uint64) error {
	if n == 0 {
		return nil
	}
	lower := justAfter(name, r.trimmed)
	cut := r.last
	if n < r.count || n <= maxDeletes {
		id, err := w.walk(b, lower, justAfter(name, r.last), n)
		if err != nil {
			return err
		}
		if n < r.count {
			cut = id
		}
	}
	if n > maxDeletes {
		must(b.DeleteRange(lower, justAfter(name, cut), nil))
	}
	r.trimmed = cut
	r.count -= n
	return nil
}

// walk returns the id of the n-th event from lower, and deletes those up to it
// if they are few enough to go one by one.
func (w *writer) walk(b *pebble.Batch, lower, upper []byte, n uint64) (id streams.ID, err error) {
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
		return streams.ID{}, fmt.Errorf("%w: %d events, want %d", errCorrupt, seen, n)
	}
	return id, iter.Error()
}
