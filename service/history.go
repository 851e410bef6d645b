package service

import (
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A HistoryQuery asks for a page of a room's log.
type HistoryQuery struct {
	After, Before streams.ID // exclusive; zero means no bound
	Limit         int        // at least 1
	Newest        bool       // newest first
}

// A HistoryPage is the answer.
type HistoryPage struct {
	Events []*streams.Event

	// Next, if not zero, goes on from here: as After, or as Before where the
	// newest come first.
	Next streams.ID

	// Truncated says that events within the bounds may be missing from the page:
	// the log no longer has them.
	Truncated bool
}

// History returns a page of what the log keeps of a room. While the log does not
// answer, it is the page as the node last knew it, if it holds all of that in memory.
// Errors are those of streams.Log.After.
func (n *Node) History(ctx context.Context, room streams.Room, q HistoryQuery) (HistoryPage, error) {
	pump := n.pumps[room.Partition(len(n.pumps))]
	if pump.away.Load() { // why wait until it has failed again
		if page, ok := pump.fromHot(room, q); ok {
			return page, nil
		}
	}
	page, err := n.fromLog(ctx, room, q)
	if errors.Is(err, streams.ErrUnavailable) {
		if page, ok := pump.fromHot(room, q); ok {
			return page, nil
		}
	}
	return page, err
}

// fromHot returns a page from the hot tail of a room, if that has all of it.
func (p *pump) fromHot(name streams.Room, q HistoryQuery) (page HistoryPage, ok bool) {
	r := p.lookup(name)
	if r == nil {
		return page, false
	}
	events, whole, ok := r.between(q.After, q.Before)
	if !ok || !whole && (!q.Newest || len(events) < q.Limit) {
		return page, false
	}
	events = slices.Clone(events)
	if q.Newest {
		slices.Reverse(events)
	}
	more := len(events) > q.Limit || !whole
	page.Events = events[:min(q.Limit, len(events))]
	if more && len(page.Events) > 0 {
		page.Next = page.Events[len(page.Events)-1].ID
	}
	return page, true
}

// between returns what the hot tail has with after < id < before, where zero is no
// bound. whole says that there were no others.
func (r *room) between(after, before streams.ID) (events []*streams.Event, whole, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := streams.Later(after, r.start)
	events, ok = r.afterLocked(from, false)
	if !before.IsZero() {
		i := sort.Search(len(events), func(i int) bool { return !events[i].ID.Before(before) })
		events = events[:i]
	}
	return events, !after.Before(r.start), ok
}

func (n *Node) fromLog(ctx context.Context, room streams.Room, q HistoryQuery) (HistoryPage, error) {
	p := room.Partition(len(n.pumps))
	edges, err := n.log.Watermarks(ctx, p, []streams.Room{room})
	if err != nil {
		return HistoryPage{}, err
	}
	if q.Before.IsZero() || edges.Last.Before(q.Before) {
		q.Before = edges.Last.Next()
	}
	if q.Newest {
		return n.newest(ctx, room, q, edges)
	}
	return n.oldest(ctx, room, q, edges)
}

func (n *Node) oldest(ctx context.Context, room streams.Room, q HistoryQuery, edges streams.Watermarks) (HistoryPage, error) {
	reader := replay.NewReader(n.log, edges, []replay.RoomStart{{Room: room, Pos: q.After, FromOldest: q.After.IsZero()}})
	var page HistoryPage
	for {
		items, err := reader.Next(ctx, q.Limit)
		if err != nil {
			return HistoryPage{}, err
		}
		if len(items) == 0 {
			return page, nil
		}
		for _, it := range items {
			switch {
			case it.Gap != nil:
				page.Truncated = page.Truncated || it.Gap.After.Before(q.Before)
			case !it.Event.ID.Before(q.Before):
				return page, nil
			case len(page.Events) == q.Limit:
				page.Next = page.Events[q.Limit-1].ID
				return page, nil
			default:
				page.Events = append(page.Events, it.Event)
			}
		}
	}
}

func (n *Node) newest(ctx context.Context, room streams.Room, q HistoryQuery, edges streams.Watermarks) (HistoryPage, error) {
	events, err := n.log.Before(ctx, room, q.Before, q.Limit+1)
	if err != nil {
		return HistoryPage{}, err
	}
	if len(events) == 0 {
		truncated, err := n.emptied(ctx, room, q, edges)
		return HistoryPage{Truncated: truncated}, err
	}
	var page HistoryPage
	oldest := events[len(events)-1].ID // the page is complete down to here
	if lo := streams.Later(q.After, oldest); lo.Before(edges.Floor) && !q.Before.Before(edges.Floor) {
		page.Truncated = true // the log has lost what was newest
	}
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		if e.ID.Before(oldest) { // there were others between it and the one after
			page.Truncated = page.Truncated || q.After.Before(oldest)
		}
		if !q.After.Before(e.ID) {
			return page, nil
		}
		if len(page.Events) == q.Limit {
			page.Next = page.Events[q.Limit-1].ID
			return page, nil
		}
		page.Events = append(page.Events, e)
		oldest = e.Prev
	}
	if !q.After.IsZero() && q.After.Before(oldest) {
		page.Truncated = true
	}
	return page, nil
}

// emptied reports whether there may have been events after q.After that the log no
// longer has, where it has none before q.Before.
func (n *Node) emptied(ctx context.Context, room streams.Room, q HistoryQuery, edges streams.Watermarks) (bool, error) {
	if q.After.IsZero() {
		return false, nil
	}
	next, err := n.log.After(ctx, room, q.After, edges.Last, 1)
	if err != nil {
		return false, err
	}
	complete := edges.CompleteAt(0)
	if len(next) > 0 {
		complete = next[0].Prev
	}
	return q.After.Before(complete), nil
}
