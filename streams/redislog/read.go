package redislog

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemark/tidemark/streams"
)

// After implements streams.Log.
func (l *Log) After(ctx context.Context, room streams.Room, after, through streams.ID, limit int) ([]*streams.Event, error) {
	if limit <= 0 || through.IsZero() {
		return nil, l.openError()
	}
	return l.page(ctx, room, "XRANGE", "("+position(after), position(through), limit)
}

// Before implements streams.Log.
func (l *Log) Before(ctx context.Context, room streams.Room, before streams.ID, limit int) ([]*streams.Event, error) {
	if limit <= 0 || before.IsZero() {
		return nil, l.openError()
	}
	events, err := l.page(ctx, room, "XREVRANGE", "("+position(before), "-", limit)
	slices.Reverse(events)
	return events, err
}

// openError is what an open log has to say to a question whose answer is nothing.
func (l *Log) openError() error {
	if l.isClosed() {
		return streams.ErrClosed
	}
	return nil
}

// page reads at most limit entries of the room, and notes the newest as logged.
func (l *Log) page(ctx context.Context, room streams.Room, command, from, to string, limit int) ([]*streams.Event, error) {
	ctx, cancel, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	p := l.partition(room)
	if err := l.ensure(ctx, p); err != nil {
		return nil, reading(err)
	}
	reply, err := l.client.Do(ctx, command, p.stream(room), from, to, "COUNT", limit).Result()
	if err != nil {
		return nil, reading(l.explain(err))
	}
	events, err := parseEntries(room, p.id, reply)
	if err != nil {
		return nil, fmt.Errorf("%w: room %q: %w", streams.ErrUnavailable, room, err)
	}
	for _, e := range events {
		p.saw(room, e.ID)
	}
	return events, nil
}
