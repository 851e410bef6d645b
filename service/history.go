package service

import (
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// HistoryBytes bounds the data of a page of history, except that one event may exceed it.
const HistoryBytes = 1 << 20

// A HistoryQuery asks for a page of a room's log.
type HistoryQuery struct {
	After, Before streams.ID // exclusive; zero means no bound
	Limit         int        // the most events, at least 1; a page also ends by HistoryBytes
	Newest        bool       // newest first
}

// A HistoryPage is the answer to a HistoryQuery.
type HistoryPage struct {
	Events []*streams.Event

	// Next, if not zero, asks for the next page: as After, or as Before if the newest
	// come first.
	Next streams.ID

	// Truncated says that events within the bounds may be missing from the page, because
	// the log no longer has them.
	Truncated bool
}

// History returns a page of the events that the log keeps of a room. While the log does
// not answer, History returns the page from memory, if the node holds all of it there.
// Such a page may lack the newest events. Errors are those of streams.Log.After, and ErrBusy.
func (n *Node) History(ctx context.Context, room streams.Room, q HistoryQuery) (HistoryPage, error) {
	p := n.pumps[room.Partition(len(n.pumps))].partition
	if p.health.down.Load() { // do not wait for the log to fail again
		if page, ok := p.historyFromMemory(room, q); ok {
			return page, nil
		}
	}
	page, err := n.historyInTurn(ctx, room, q)
	if errors.Is(err, streams.ErrUnavailable) {
		if page, ok := p.historyFromMemory(room, q); ok {
			return page, nil
		}
	}
	return page, err
}

// historyFromMemory returns a page from the hot tail of a room, if that holds all of it.
func (p *partition) historyFromMemory(name streams.Room, q HistoryQuery) (page HistoryPage, ok bool) {
	r := p.registry.lookup(name)
	if r == nil {
		return page, false
	}
	events, complete, ok := r.hotBetween(q.After, q.Before)
	if !ok || !complete && (!q.Newest || len(events) < q.Limit) {
		return page, false
	}
	events = slices.Clone(events)
	if q.Newest {
		slices.Reverse(events)
	}
	size := firstThatFit(events, q.Limit, HistoryBytes)
	more := len(events) > size || !complete
	page.Events = events[:size]
	if more && len(page.Events) > 0 {
		page.Next = page.Events[len(page.Events)-1].ID
	}
	return page, true
}

// hotBetween returns the events of the hot tail with after < id < before, where zero means
// no bound. complete says that the room had no other events there. ok is false if the hot
// tail cannot answer.
func (r *room) hotBetween(after, before streams.ID) (events []*streams.Event, complete, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events, ok = r.hotAfterLocked(streams.Later(after, r.tail.start), false)
	if !before.IsZero() {
		i := sort.Search(len(events), func(i int) bool { return !events[i].ID.Before(before) })
		events = events[:i]
	}
	return events, !after.Before(r.tail.start), ok
}

// historyInTurn reads the page when there is memory for it.
func (n *Node) historyInTurn(ctx context.Context, room streams.Room, q HistoryQuery) (HistoryPage, error) {
	held, err := n.memory.acquire(ctx, HistoryBytes+int64(replay.HeldBytes(1)))
	if err != nil {
		return HistoryPage{}, err
	}
	defer n.memory.release(held)
	return n.historyFromLog(ctx, room, q)
}

func (n *Node) historyFromLog(ctx context.Context, room streams.Room, q HistoryQuery) (HistoryPage, error) {
	p := room.Partition(len(n.pumps))
	w, err := n.log.Watermarks(ctx, p, []streams.Room{room})
	if err != nil {
		return HistoryPage{}, err
	}
	if q.Before.IsZero() || w.Last.Before(q.Before) {
		q.Before = w.Last.Next()
	}
	if q.Newest {
		return n.newest(ctx, room, q, w)
	}
	return n.oldest(ctx, room, q, w)
}

// oldest returns the oldest events within the bounds. q.Before must be set.
func (n *Node) oldest(ctx context.Context, room streams.Room, q HistoryQuery, w streams.Watermarks) (HistoryPage, error) {
	reader := replay.NewReader(n.log, w, []replay.RoomStart{{Room: room, Pos: q.After, FromOldest: q.After.IsZero()}})
	var page HistoryPage
	bytes := 0
	for {
		items, err := reader.Next(ctx, q.Limit+1-len(page.Events), HistoryBytes)
		if err != nil {
			return HistoryPage{}, err
		}
		if len(items) == 0 {
			return page, nil
		}
		for _, it := range items {
			if it.Gap != nil {
				page.Truncated = page.Truncated || it.Gap.After.Before(q.Before)
				continue
			}
			bytes += len(it.Event.Data)
			switch have := len(page.Events); {
			case !it.Event.ID.Before(q.Before):
				return page, nil
			case have == q.Limit, have > 0 && bytes > HistoryBytes:
				page.Next = page.Events[have-1].ID
				return page, nil
			}
			page.Events = append(page.Events, it.Event)
		}
	}
}

// newest returns the newest events within the bounds. q.Before must be set.
func (n *Node) newest(ctx context.Context, room streams.Room, q HistoryQuery, w streams.Watermarks) (HistoryPage, error) {
	got, err := n.log.Before(ctx, room, q.Before, streams.ReadLimit{Events: q.Limit + 1, Bytes: HistoryBytes})
	if err != nil {
		return HistoryPage{}, err
	}
	events := got.Events
	if len(events) == 0 {
		truncated, err := n.lostAll(ctx, room, q, w)
		return HistoryPage{Truncated: truncated}, err
	}
	var page HistoryPage
	oldest := events[len(events)-1].ID // the page is complete down to here
	if lo := streams.Later(q.After, oldest); lo.Before(w.Floor) && !q.Before.Before(w.Floor) {
		page.Truncated = true // the log has lost the newest events
	}
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		if e.ID.Before(oldest) { // events between this one and the next are gone
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
	switch {
	case got.More: // the page ended by its bytes; the next one finds out what remains
		page.Next = events[0].ID
	case !q.After.IsZero() && q.After.Before(oldest):
		page.Truncated = true
	}
	return page, nil
}

// lostAll reports whether the log may have had events after q.After that it no longer has,
// if it has none between q.After and q.Before.
func (n *Node) lostAll(ctx context.Context, room streams.Room, q HistoryQuery, w streams.Watermarks) (bool, error) {
	if q.After.IsZero() {
		return false, nil
	}
	next, err := n.log.After(ctx, room, q.After, w.Last, streams.ReadLimit{Events: 1, WithoutData: true})
	if err != nil {
		return false, err
	}
	complete := w.CompleteAt(0)
	if len(next.Events) > 0 {
		complete = next.Events[0].Prev
	}
	return q.After.Before(complete), nil
}
