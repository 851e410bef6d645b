package redislog

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// pages are the readings of a partition, as one who sees events in the log.
type pages struct{}

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

// page reads at most limit events of the room, and notes them as logged. What
// somebody else has put into the stream is passed over, and a key that is no
// stream holds no events: the chain of prev, and the room's tail, tell readers
// what is missing, and the other rooms go on.
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
	var events []*streams.Event
	for {
		reply, err := l.client.Do(ctx, command, p.stream(room), from, to, "COUNT", limit).Slice()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			return nil, nil
		}
		if err != nil {
			l.doubt(ctx, err)
			return nil, reading(l.explain(err))
		}
		for _, entry := range reply {
			id, e, err := parseEntry(room, p.id, entry)
			if err != nil {
				l.opt.Logger.Warn("a room's stream has an entry of somebody else", "room", room, "id", id, "error", err)
			} else if len(events) < limit {
				p.saw(pages{}, room, e.ID)
				events = append(events, e)
			}
			from = "(" + id
		}
		if len(reply) < limit || len(events) == limit {
			return events, nil
		}
	}
}
