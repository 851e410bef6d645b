package service

import (
	"context"

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

// History returns a page of what the log keeps of a room. Errors are those of
// streams.Log.After.
func (n *Node) History(ctx context.Context, room streams.Room, q HistoryQuery) (HistoryPage, error) {
	p := room.Partition(len(n.pumps))
	edges, err := n.log.Edges(ctx, p, []streams.Room{room})
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

func (n *Node) oldest(ctx context.Context, room streams.Room, q HistoryQuery, edges streams.Edges) (HistoryPage, error) {
	reader := replay.NewReader(n.log, edges, []replay.Track{{Room: room, Pos: q.After, Lax: q.After.IsZero()}})
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

func (n *Node) newest(ctx context.Context, room streams.Room, q HistoryQuery, edges streams.Edges) (HistoryPage, error) {
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
func (n *Node) emptied(ctx context.Context, room streams.Room, q HistoryQuery, edges streams.Edges) (bool, error) {
	if q.After.IsZero() {
		return false, nil
	}
	next, err := n.log.After(ctx, room, q.After, edges.Last, 1)
	if err != nil {
		return false, err
	}
	complete := streams.Later(edges.Tails[0], edges.Floor)
	if len(next) > 0 {
		complete = next[0].Prev
	}
	return q.After.Before(complete), nil
}
