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

// Pebble shows a batch to readers while its sync is still under way. So every
// read stops at the durable position: an event that a crash could still take
// back has not happened.

// After implements streams.Log.
func (l *Log) After(ctx context.Context, room streams.Room, after, through streams.ID, limit int) ([]*streams.Event, error) {
	return l.page(ctx, room, after, justAfter(room, through), limit, forwards)
}

// Before implements streams.Log.
func (l *Log) Before(ctx context.Context, room streams.Room, before streams.ID, limit int) ([]*streams.Event, error) {
	events, err := l.page(ctx, room, streams.ID{}, eventKey(room, before), limit, backwards)
	slices.Reverse(events)
	return events, err
}

type direction bool

const (
	forwards  direction = true
	backwards direction = false
)

// page reads the events of room after a position and with keys below upper, at
// most limit, starting at the end that the direction says.
func (l *Log) page(ctx context.Context, room streams.Room, after streams.ID, upper []byte, limit int, d direction) ([]*streams.Event, error) {
	leave, err := l.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()

	r, found, err := l.store.room(l.store.db, room)
	if err != nil {
		return nil, unreadable(err)
	}
	if !found || r.expired(l.options.Now()) {
		return nil, nil
	}
	// Starting behind what was trimmed spares the reader its remains.
	lower := justAfter(room, streams.Later(after, r.trimmed))
	if end := justAfter(room, *l.durable.Load()); bytes.Compare(end, upper) < 0 {
		upper = end
	}
	if limit <= 0 || bytes.Compare(lower, upper) >= 0 {
		return nil, nil
	}
	events, err := l.store.events(ctx, room, lower, upper, limit, d)
	if err != nil && ctx.Err() == nil {
		err = unreadable(fmt.Errorf("read room %q: %w", room, err))
	}
	return events, err
}

// unreadable is the error of a read that the store could not serve.
func unreadable(err error) error { return fmt.Errorf("%w: %w", streams.ErrUnavailable, err) }

// events reads a page from the store. The caller must have admitted the read.
func (s *store) events(ctx context.Context, room streams.Room, lower, upper []byte, limit int, d direction) (events []*streams.Event, err error) {
	iter, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: lower,
		UpperBound: upper,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()

	first, next := iter.First, iter.Next
	if d == backwards {
		first, next = iter.Last, iter.Prev
	}
	for ok := first(); ok && len(events) < limit; ok = next() {
		if ctx.Err() != nil {
			return nil, over(ctx)
		}
		e, err := eventAt(iter, room)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, iter.Error()
}

func eventAt(iter *pebble.Iterator, room streams.Room) (*streams.Event, error) {
	id, err := eventID(iter.Key())
	if err != nil {
		return nil, err
	}
	v, err := iter.ValueAndErr()
	if err != nil {
		return nil, err
	}
	return decodeEvent(room, id, v)
}

// Watermarks implements streams.Log. An embedded log cannot go back under a running
// process, so the floor is the moment the log was made.
func (l *Log) Watermarks(ctx context.Context, _ streams.Partition, rooms []streams.Room) (streams.Watermarks, error) {
	leave, err := l.enter(ctx)
	if err != nil {
		return streams.Watermarks{}, err
	}
	defer leave()

	snapshot, last := l.moment()
	defer snapshot.Close()
	e := streams.Watermarks{Last: last, Floor: l.store.floor, Tails: make([]streams.ID, len(rooms))}
	for i, room := range rooms {
		if ctx.Err() != nil {
			return streams.Watermarks{}, over(ctx)
		}
		r, found, err := l.store.room(snapshot, room)
		if err != nil {
			return streams.Watermarks{}, unreadable(err)
		}
		if found {
			e.Tails[i] = r.tail(last)
		}
	}
	// Last of all: the horizon rises before a record goes, so a record that was
	// not found is at or before it.
	e.UnrecordedBefore = *l.dropped.Load()
	return e, nil
}

// moment returns a view of the store and the durable position that goes with it:
// the view has all up to there, and at most the one write beyond that is under way.
func (l *Log) moment() (*pebble.Snapshot, streams.ID) {
	for {
		before := l.durable.Load()
		snapshot := l.store.db.NewSnapshot()
		if l.durable.Load() == before {
			return snapshot, *before
		}
		snapshot.Close() // the writer finished a write between the two: look again
	}
}
