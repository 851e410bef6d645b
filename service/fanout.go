package service

import (
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A verdict says what the pump does with a live event.
type verdict int

const (
	drop    verdict = iota // it was processed before, or the room is not joined
	deliver                // it follows the room's position
	repair                 // events before it are missing
)

// classify decides about a live event before it is delivered.
func (r *room) classify(e *streams.Event) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.joined || r.known && !r.pos.Before(e.ID):
		return drop
	case e.Ephemeral:
		return deliver
	case !r.known:
		r.setKnownLocked(e.Prev)
		return deliver
	case r.pos.Before(e.Prev):
		return repair
	case e.Prev.Before(r.newest):
		return repair // the log lost an event that this node has delivered
	}
	return deliver
}

// store puts e into the hot tail and returns the members to pass to fanOut. late says
// that later events of the partition were delivered before. A late event is offered
// here, under the locks: a subscription of several rooms must not go live between
// storing and offering it.
func (r *room) store(e *streams.Event, late bool, maxHot int) []*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known && !r.pos.Before(e.ID) {
		return nil // a subscription set the baseline after classify, and it includes e
	}
	if !r.known {
		r.setKnownLocked(e.ID) // an ephemeral event; its Prev is zero
	}
	r.pos = e.ID
	if !e.Ephemeral { // nobody can resume from an ephemeral event
		r.newest = e.ID
		if !r.gone {
			r.tail.add(e, maxHot)
		}
	}
	if late || len(r.members) == 0 {
		r.offered = r.pos
		offerAll(r.members, itemOf(e), late)
		return nil
	}
	r.fanningOut = true
	return r.members
}

// fanOut offers e to members. It holds no lock, so that attaching and detaching do not
// wait for it. A subscription that goes live meanwhile has e from the hot tail.
func (r *room) fanOut(members []*member, e *streams.Event) {
	if len(members) == 0 {
		return
	}
	offerAll(members, itemOf(e), false)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fanningOut, r.offered = false, r.pos
	for _, m := range r.departed {
		r.removeLocked(m)
	}
	r.departed = nil
}

func itemOf(e *streams.Event) replay.Item { return replay.Item{Event: e, Place: e.ID, Position: e.ID} }

func offerAll(members []*member, it replay.Item, late bool) {
	for _, m := range members {
		m.sub.offer(it, late)
	}
}

// deliverGap offers a gap notice to every member. The hot tail restarts after the gap,
// because every client that resumes from before it must receive the notice too.
func (r *room) deliverGap(it replay.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pos = streams.Later(r.pos, it.Place)
	r.offered = r.pos
	r.newest = streams.ID{}
	r.tail.restart(r.pos)
	r.filled = true // filling the tail backwards would hide the gap
	offerAll(r.members, it, false)
}

// completeTo notes that no event up to pos is missing.
func (r *room) completeTo(pos streams.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pos = streams.Later(r.pos, pos)
	r.offered = r.pos
}
