package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemark/tidemark/streams"
)

// Pebble shows a batch to readers before the batch is synced. So every read stops at the
// durable position, because a crash could still remove later events.

// After implements streams.Log.
func (l *Log) After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	return l.page(ctx, room, after, justAfter(room, through), limit, forwards)
}

// Before implements streams.Log.
func (l *Log) Before(ctx context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	page, err := l.page(ctx, room, streams.ID{}, eventKey(room, before), limit, backwards)
	slices.Reverse(page.Events)
	return page, err
}

type direction bool

const (
	forwards  direction = true
	backwards direction = false
)

// page reads events of room after a position and with keys below upper. It starts at the oldest of these events for forwards, and at the newest for backwards.
func (l *Log) page(ctx context.Context, room streams.Room, after streams.ID, upper []byte, limit streams.ReadLimit, d direction) (streams.Page, error) {
	endRead, err := l.beginRead(ctx)
	if err != nil {
		return streams.Page{}, err
	}
	defer endRead()

	r, found, err := l.store.room(l.store.db, room)
	if err != nil {
		return streams.Page{}, unreadable(err)
	}
	if !found || r.expired(l.options.Now()) {
		return streams.Page{}, nil
	}
	// Starting after the trimmed events avoids reading over their tombstones.
	lower := justAfter(room, streams.Later(after, r.trimmed))
	if end := justAfter(room, *l.durable.Load()); bytes.Compare(end, upper) < 0 {
		upper = end
	}
	if limit.Events <= 0 || bytes.Compare(lower, upper) >= 0 {
		return streams.Page{}, nil
	}
	page, err := l.store.events(ctx, room, lower, upper, limit, d)
	if err != nil && ctx.Err() == nil {
		err = unreadable(fmt.Errorf("read room %q: %w", room, err))
	}
	return page, err
}

// unreadable returns the error of a read that the store could not serve.
func unreadable(err error) error { return fmt.Errorf("%w: %w", streams.ErrUnavailable, err) }

// events reads a page from the store. The caller must hold the log open with beginRead.
func (s *store) events(ctx context.Context, room streams.Room, lower, upper []byte, limit streams.ReadLimit, d direction) (page streams.Page, err error) {
	iter, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: lower,
		UpperBound: upper,
	})
	if err != nil {
		return streams.Page{}, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()

	first, next := iter.First, iter.Next
	if d == backwards {
		first, next = iter.Last, iter.Prev
	}
	size := 0 // of the page's data
	for ok := first(); ok; ok = next() {
		if ctx.Err() != nil {
			return streams.Page{}, contextError(ctx)
		}
		e, data, err := eventAt(iter, room)
		if err != nil {
			return streams.Page{}, err
		}
		if !limit.WithoutData {
			size += len(data)
			if size > limit.Bytes && len(page.Events) > 0 {
				page.More = true
				break
			}
			e.Data = slices.Clone(data)
		}
		page.Events = append(page.Events, e)
		if len(page.Events) == limit.Events {
			page.More = true
			break
		}
	}
	return page, iter.Error()
}

// eventAt returns the event at iter, without its data. It returns the data too, which is
// valid until iter moves.
func eventAt(iter *pebble.Iterator, room streams.Room) (e *streams.Event, data []byte, err error) {
	id, err := eventID(iter.Key())
	if err != nil {
		return nil, nil, err
	}
	v, err := iter.ValueAndErr()
	if err != nil {
		return nil, nil, err
	}
	return decodeEvent(room, id, v)
}

// Watermarks implements streams.Log. An embedded log cannot lose events while the process
// runs, so the floor does not change.
func (l *Log) Watermarks(ctx context.Context, _ streams.Partition, rooms []streams.Room) (streams.Watermarks, error) {
	endRead, err := l.beginRead(ctx)
	if err != nil {
		return streams.Watermarks{}, err
	}
	defer endRead()

	snapshot, last := l.durableSnapshot()
	defer snapshot.Close()
	w := streams.Watermarks{Last: last, Floor: l.store.floor, Tails: make([]streams.ID, len(rooms))}
	for i, room := range rooms {
		if ctx.Err() != nil {
			return streams.Watermarks{}, contextError(ctx)
		}
		r, found, err := l.store.room(snapshot, room)
		if err != nil {
			return streams.Watermarks{}, unreadable(err)
		}
		if found {
			w.Tails[i] = r.tail(last)
		}
	}
	// Loaded after the records: UnrecordedBefore rises before the sweep deletes a record.
	// So it covers every record that was not found.
	w.UnrecordedBefore = *l.unrecordedBefore.Load()
	return w, nil
}

// durableSnapshot returns a snapshot of the store with its durable position. The snapshot
// contains all events up to that position, and perhaps those of one unfinished write.
func (l *Log) durableSnapshot() (*pebble.Snapshot, streams.ID) {
	for {
		before := l.durable.Load()
		snapshot := l.store.db.NewSnapshot()
		if l.durable.Load() == before {
			return snapshot, *before
		}
		snapshot.Close() // the writer finished a write in between
	}
}
