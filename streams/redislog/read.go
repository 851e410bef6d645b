package redislog

import (
	"context"
	"fmt"
	"slices"

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
	return l.page(ctx, room, span{"XRANGE", "(" + entry.Position(after), entry.Position(through)}, limit)
}

// Before implements streams.Log.
func (l *Log) Before(ctx context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	if limit.Events <= 0 || before.IsZero() {
		return streams.Page{}, l.closedError()
	}
	page, err := l.page(ctx, room, span{"XREVRANGE", "(" + entry.Position(before), "-"}, limit)
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
