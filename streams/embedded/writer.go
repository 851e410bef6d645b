package embedded

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemark/tidemark/streams"
)

const (
	// maxGroup (drafts) and maxGroupBytes bound the group of appends that share
	// one sync. They are large enough to make the cost of the sync per event small, and
	// small enough that the first append of a group does not wait long for the others.
	maxGroup      = 1024
	maxGroupBytes = 8 << 20

	// ceilingLead is how far ahead of the clock the ceiling is set for ephemeral events,
	// so that they cause one sync per second instead of one each. After a crash, ids
	// start at most this far in the future.
	ceilingLead = time.Second
)

// A writer makes all changes to the store. Only its goroutine uses its fields.
type writer struct {
	log     *Log
	last    streams.ID                  // the newest assigned id
	ceiling streams.ID                  // the value on the disk; must be raised there before ids beyond it are used
	rooms   map[streams.Room]roomRecord // a cache of the store's records
	sweep   sweep

	// The group being written.
	now       time.Time
	batch     *pebble.Batch
	changed   map[streams.Room]*changedRoom
	keys      map[string]keyRecord // by key in the store
	events    []*streams.Event
	ephemeral bool // events contains an ephemeral event
}

// A changedRoom is the new record of a room to which the group adds events.
type changedRoom struct {
	roomRecord
	capacity uint64 // of the newest draft
}

func newWriter(l *Log, ceiling streams.ID) *writer {
	return &writer{
		log:     l,
		last:    ceiling,
		ceiling: ceiling,
		rooms:   map[streams.Room]roomRecord{},
		changed: map[streams.Room]*changedRoom{},
		keys:    map[string]keyRecord{},
	}
}

// run writes requests until the log is closed, and sweeps in between.
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

// collect returns r and the requests behind it in the queue, up to the bounds of a group.
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

// write stores a group with one sync. Then it makes the group readable, trims its rooms,
// publishes its events to the feeds, and answers, in that order.
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
	w.trim()
	w.log.feeds.publish(w.events)
	for _, r := range group {
		w.answer(r)
	}
}

// answer gives a request its receipts.
func (w *writer) answer(r *request) {
	w.log.release(r)
	close(r.answered)
}

func (w *writer) begin() {
	w.now = w.log.options.Now()
	w.batch = w.log.store.db.NewBatch()
}

func (w *writer) finish() {
	w.batch.Close() // returns an error only for a second Close
	w.batch = nil
	clear(w.changed)
	clear(w.keys)
	clear(w.events) // lets the garbage collector free the events
	w.events = w.events[:0]
	w.ephemeral = false
}

// commit syncs the group to the disk and then makes it readable.
func (w *writer) commit() error {
	for name, room := range w.changed {
		w.scheduleSweep(w.batch, name, &room.roomRecord, room.expires)
		putRoom(w.batch, name, &room.roomRecord)
	}
	ceiling := w.raiseCeiling()
	if !w.batch.Empty() {
		if err := w.log.store.commit(w.batch, pebble.Sync); err != nil {
			return err
		}
	}
	w.ceiling = ceiling
	for name, room := range w.changed {
		w.cache(name, room.roomRecord)
	}
	last := w.last
	w.log.durable.Store(&last)
	return nil
}

// raiseCeiling adds a new ceiling to the batch if ids of the group are beyond the old one.
// It returns the ceiling after the commit.
func (w *writer) raiseCeiling() streams.ID {
	if !w.ceiling.Before(w.last) {
		return w.ceiling
	}
	ceiling := w.last
	if w.ephemeral {
		ceiling = streams.IDAt(ceiling.Time().Add(ceilingLead), 0)
	}
	must(w.batch.Set(metaCeiling, ceiling[:], nil))
	return ceiling
}

// fail answers a group whose commit failed. Its events may be on the disk. They are never
// live or readable while the log is open, and their ids are not reused.
func (w *writer) fail(group []*request, err error) {
	err = fmt.Errorf("%w: %w", streams.ErrUnavailable, err)
	for _, r := range group {
		for i := range r.receipts {
			if r.receipts[i].Err == nil {
				r.receipts[i] = streams.Receipt{Err: err}
			}
		}
		w.answer(r)
	}
}
