package redislog

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// MarkRestored tells the log that Redis was restored from a copy. Afterwards the log
// vouches for no event before this moment, so that every older cursor gets a gap notice.
//
// Call it only if all nodes were stopped meanwhile. A node that ran during the restore
// notices the loss by itself.
func (l *Log) MarkRestored(ctx context.Context) error {
	return l.eachPartition(func(p *partition) error {
		now, err := l.Watermarks(ctx, p.ID, nil)
		if err != nil {
			return err
		}
		// An event that never existed counts as lost, so the next check raises the floor.
		p.saw(l, restoredRoom, streams.IDAt(now.Last.Time().Add(time.Millisecond), p.ID))
		_, err = l.Watermarks(ctx, p.ID, nil)
		return err
	})
}

// restoredRoom is the room of the event that never existed.
const restoredRoom streams.Room = "$restored"
