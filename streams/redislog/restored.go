package redislog

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// MarkRestored tells the log that it was brought back from a copy while no node ran that
// would have noticed: from then on it vouches for nothing before this moment, so that
// every cursor from before gets a gap notice. It is not needed where a node has outlived
// the loss.
func (l *Log) MarkRestored(ctx context.Context) error {
	return l.eachPartition(func(p *partition) error {
		now, err := l.Watermarks(ctx, p.id, nil)
		if err != nil {
			return err
		}
		// To say that an event is lost which never was is to say that the log went back.
		p.saw(l, restoredRoom, streams.IDAt(now.Last.Time().Add(time.Millisecond), p.id))
		_, err = l.Watermarks(ctx, p.id, nil)
		return err
	})
}

// restoredRoom is where the event is looked for.
const restoredRoom streams.Room = "$restored"
