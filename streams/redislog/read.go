package redislog

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// maxTails bounds the rooms of one run of scripts.Watermarks, and so the time for which
// Redis does nothing else: 10,000 rooms take about 5 ms.
const maxTails = 10_000

// Watermarks implements streams.Log. It reads up to maxTails rooms at one moment. For more
// rooms, Last is from the first moment, so that the tails include every event up to it. The
// other watermarks are from the last moment.
func (l *Log) Watermarks(ctx context.Context, p streams.Partition, rooms []streams.Room) (streams.Watermarks, error) {
	ctx, cancel, err := l.begin(ctx, l.opt.Timeout)
	if err != nil {
		return streams.Watermarks{}, err
	}
	defer cancel()
	if int(p) >= len(l.partitions) {
		return streams.Watermarks{}, fmt.Errorf("%w: the log has no partition %d", streams.ErrUnavailable, p)
	}
	all, err := l.watermarks(ctx, l.client, l.partitions[p], rooms[:min(maxTails, len(rooms))])
	for from := maxTails; from < len(rooms) && err == nil; from += maxTails {
		var more streams.Watermarks
		more, err = l.watermarks(ctx, l.client, l.partitions[p], rooms[from:min(from+maxTails, len(rooms))])
		all.Tails = append(all.Tails, more.Tails...)
		all.Floor = streams.Later(all.Floor, more.Floor)
		all.UnrecordedBefore = streams.Later(all.UnrecordedBefore, more.UnrecordedBefore)
		if more.LostAfter.Before(all.LostAfter) {
			all.LostAfter = more.LostAfter
		}
	}
	if err != nil {
		l.reloadSlots(ctx, err)
		return streams.Watermarks{}, rediserr.Reading(err)
	}
	return all, nil
}

// After implements streams.Log.
func (l *Log) After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	if limit.Events <= 0 || through.IsZero() {
		return streams.Page{}, l.closedError()
	}
	return l.page(ctx, room, "XRANGE", "("+entry.Position(after), entry.Position(through), limit.Events)
}

// Before implements streams.Log.
func (l *Log) Before(ctx context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	if limit.Events <= 0 || before.IsZero() {
		return streams.Page{}, l.closedError()
	}
	page, err := l.page(ctx, room, "XREVRANGE", "("+entry.Position(before), "-", limit.Events)
	slices.Reverse(page.Events)
	return page, err
}

// closedError returns ErrClosed if the log is closed, for reads that need no call.
func (l *Log) closedError() error {
	if l.closed.Load() {
		return streams.ErrClosed
	}
	return nil
}

// pages is the source of the events that pages contain (see knownEvent).
type pages struct{}

// page reads at most limit events of the room and records them as known. It skips foreign
// entries, and a key that is not a stream has no events. Readers learn from prev and from
// the room's tail that events are missing, and other rooms are not affected.
func (l *Log) page(ctx context.Context, room streams.Room, command, from, to string, limit int) (streams.Page, error) {
	ctx, cancel, err := l.begin(ctx, l.opt.Timeout)
	if err != nil {
		return streams.Page{}, err
	}
	defer cancel()
	p := l.partition(room)
	if err := l.ensure(ctx, p); err != nil {
		return streams.Page{}, rediserr.Reading(err)
	}
	var events []*streams.Event
	for {
		reply, err := l.client.Do(ctx, command, p.Stream(room), from, to, "COUNT", limit).Slice()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			return streams.Page{}, nil
		}
		if err != nil {
			l.reloadSlots(ctx, err)
			return streams.Page{}, rediserr.Reading(l.explain(err))
		}
		for _, value := range reply {
			id, e, err := entry.Parse(room, p.ID, value)
			if err != nil {
				l.opt.Logger.Warn("skipped an entry of a room's stream that Tidemark did not write", "room", room, "id", id, "error", err)
			} else if len(events) < limit {
				p.saw(pages{}, room, e.ID)
				events = append(events, e)
			}
			from = "(" + id
		}
		if len(reply) < limit || len(events) == limit {
			return streams.Page{Events: events, More: len(events) == limit}, nil
		}
	}
}
