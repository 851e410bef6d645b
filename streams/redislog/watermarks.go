package redislog

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/streams/redislog/internal/scripts"
)

// watermarks reads the watermarks of p and the tails of rooms. at is the log's client,
// which finds the node, or a client of one node.
func (s *store) watermarks(ctx context.Context, at redis.Scripter, p *partition, rooms []streams.Room) (streams.Watermarks, error) {
	known := p.knownEvents()
	keys := p.lossKeys(known)
	for _, r := range rooms {
		keys = append(keys, p.Tail(r))
	}
	args := p.lossArgs(len(s.partitions), known)
	reply, err := s.withClock(ctx, p, func() (any, error) { return scripts.Watermarks.Run(ctx, at, keys, args...).Result() })
	if err != nil {
		return streams.Watermarks{}, err
	}
	values, _ := reply.([]any)
	if len(values) != 5+len(rooms) {
		return streams.Watermarks{}, fmt.Errorf("%w: Redis returned %d values for %d rooms", streams.ErrUnavailable, len(values), len(rooms))
	}
	if values[4] == int64(1) {
		s.countLoss(p)
	}
	p.confirmed(known, knownEvent{})
	return p.parseWatermarks(values)
}

// parseWatermarks reads last, floor, unrecordedBefore, lost, a number, and the tails. A
// foreign value in the place of a tail counts as no record, because one room must not make
// the others unreadable. MGET returns nil for a value of the wrong type.
func (p *partition) parseWatermarks(values []any) (streams.Watermarks, error) {
	w := streams.Watermarks{Tails: make([]streams.ID, len(values)-5)}
	for i, to := range []*streams.ID{&w.Last, &w.Floor, &w.UnrecordedBefore, &w.LostAfter} {
		if err := p.parseInto(to, values[i]); err != nil {
			return streams.Watermarks{}, err
		}
	}
	for i, tail := range values[5:] {
		if p.parseInto(&w.Tails[i], tail) != nil {
			w.Tails[i] = streams.ID{}
		}
	}
	return w, nil
}

func (p *partition) parseInto(to *streams.ID, value any) (err error) {
	text, _ := value.(string)
	*to, err = entry.ParsePosition(text, p.ID)
	return err
}
