package redislog

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// maxTails bounds the rooms that one run of edgesScript answers for, and so how
// long it keeps Redis from others: 10,000 take some 5 ms.
const maxTails = 10_000

// Watermarks implements streams.Log. Up to maxTails rooms are answered for at one
// moment. Of more, Last is the first moment's, so that every event up to it is in
// the tails, and what is no longer vouched for the last moment's.
func (l *Log) Watermarks(ctx context.Context, p streams.Partition, rooms []streams.Room) (streams.Watermarks, error) {
	ctx, cancel, err := l.begin(ctx)
	if err != nil {
		return streams.Watermarks{}, err
	}
	defer cancel()
	if int(p) >= len(l.partitions) {
		return streams.Watermarks{}, fmt.Errorf("%w: no partition %d", streams.ErrUnavailable, p)
	}
	all, err := l.edges(ctx, l.client, l.partitions[p], rooms[:min(maxTails, len(rooms))])
	for from := maxTails; from < len(rooms) && err == nil; from += maxTails {
		var more streams.Watermarks
		more, err = l.edges(ctx, l.client, l.partitions[p], rooms[from:min(from+maxTails, len(rooms))])
		all.Tails = append(all.Tails, more.Tails...)
		all.Floor = streams.Later(all.Floor, more.Floor)
		all.UnrecordedBefore = streams.Later(all.UnrecordedBefore, more.UnrecordedBefore)
		if more.LostAfter.Before(all.LostAfter) {
			all.LostAfter = more.LostAfter
		}
	}
	if err != nil {
		l.doubt(ctx, err)
		return streams.Watermarks{}, reading(err)
	}
	return all, nil
}

// edges asks at, which finds the partition or is its node.
func (l *Log) edges(ctx context.Context, at redis.Scripter, p *partition, rooms []streams.Room) (streams.Watermarks, error) {
	seen := p.sightings()
	keys := p.lookKeys(seen)
	for _, r := range rooms {
		keys = append(keys, p.tail(r))
	}
	args := l.lookArgs(p, seen)
	reply, err := l.withClock(ctx, p, func() (any, error) { return edgesScript.Run(ctx, at, keys, args...).Result() })
	if err != nil {
		return streams.Watermarks{}, err
	}
	values, _ := reply.([]any)
	if len(values) != 5+len(rooms) {
		return streams.Watermarks{}, fmt.Errorf("%w: %d values for %d rooms", streams.ErrUnavailable, len(values), len(rooms))
	}
	if values[4] == int64(1) {
		l.noteLoss(p)
	}
	p.looked(seen, sighting{})
	return p.parseEdges(values)
}

// parseEdges reads last, floor, horizon, lost, a number, and the tails. A foreign value
// in a tail's place is no record, be it of the wrong type, which MGET gives as
// nil, or not: one room must not take the others down.
func (p *partition) parseEdges(values []any) (streams.Watermarks, error) {
	e := streams.Watermarks{Tails: make([]streams.ID, len(values)-5)}
	for i, to := range []*streams.ID{&e.Last, &e.Floor, &e.UnrecordedBefore, &e.LostAfter} {
		if err := p.parseInto(to, values[i]); err != nil {
			return streams.Watermarks{}, err
		}
	}
	for i, tail := range values[5:] {
		if p.parseInto(&e.Tails[i], tail) != nil {
			e.Tails[i] = streams.ID{}
		}
	}
	return e, nil
}

func (p *partition) parseInto(to *streams.ID, value any) (err error) {
	text, _ := value.(string)
	*to, err = parsePosition(text, p.id)
	return err
}
