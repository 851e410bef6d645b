package redislog

import (
	"slices"

	"github.com/tidemark/tidemark/streams"
)

// A knownEvent is a last known event: the newest event that one source of this process
// has seen in the log. It serves to detect that the log has lost its end.
//
// A loss takes the end of the log. So an event vouches for all earlier ones, but only if
// they were in the log together. During a failover, appends may go to the new primary
// while a feed still listens to the old one.
//
// Therefore each feed has its own last known event, because a feed hears one log for as
// long as its connection lives. Each append adds one too, until a later append follows
// it: an append checks all events that are known when it is sent. Under load there are two
// or three.
type knownEvent struct {
	room   streams.Room
	id     streams.ID
	source any // replaced by later events of the same source; nil for none
}

// saw records an event that source has found in the log.
func (p *partition) saw(source any, room streams.Room, id streams.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest = streams.Later(p.newest, id)
	for i := range p.known {
		if p.known[i].source == source {
			if p.known[i].id.Before(id) {
				p.known[i].room, p.known[i].id = room, id
			}
			return
		}
	}
	p.known = append(p.known, knownEvent{room, id, source})
}

// handedOut records an id that this process has returned to a publisher.
func (p *partition) handedOut(id streams.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest = streams.Later(p.newest, id)
}

// confirmed records that one script has checked the events: the loss of any of them has
// been noticed, and the newest one vouches for the others. If stored is not zero, the
// script also stored that event, which then vouches for all.
func (p *partition) confirmed(checked []knownEvent, stored knownEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = slices.DeleteFunc(p.known, func(k knownEvent) bool { return slices.Contains(checked, k) })
	for _, k := range checked {
		if stored.id.Before(k.id) {
			stored = knownEvent{room: k.room, id: k.id}
		}
	}
	if !stored.id.IsZero() {
		p.known = append(p.known, stored)
	}
}

// knownEvents returns the events to check.
func (p *partition) knownEvents() []knownEvent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.known)
}

// newestKnown returns the newest event known to have been logged; zero for none.
func (p *partition) newestKnown() (id streams.ID) {
	for _, k := range p.knownEvents() {
		id = streams.Later(id, k.id)
	}
	return id
}

func (p *partition) newestID() streams.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newest
}
