package measure

import (
	"time"

	"github.com/tidemark/tidemark/bench/load"
)

// Limits for a command in a run with -small.
const (
	smallClients    = 8
	smallPublishers = 4
	smallRooms      = 4
	smallEvents     = 40
	smallPause      = 20 * time.Millisecond
	smallTime       = 100 * time.Millisecond
)

// shrink reduces a command to a few clients and a fraction of a second. Each measure
// still runs all its steps, but the measured values mean nothing.
func shrink(c load.Command) load.Command {
	switch {
	case c.Open != nil:
		o := *c.Open
		o.Clients, o.Rooms = min(o.Clients, smallClients), shrinkRooms(o.Rooms)
		c.Open = &o
	case c.Work != nil:
		c.Work = shrinkWork(*c.Work)
	case c.Pause != nil:
		c.Pause = &load.Pause{Time: min(c.Pause.Time, smallPause)}
	}
	return c
}

func shrinkWork(w load.Work) *load.Work {
	w.Publishers, w.Rooms = min(w.Publishers, smallPublishers), shrinkRooms(w.Rooms)
	w.Events, w.Time = min(w.Events, smallEvents), min(w.Time, smallTime)
	if w.Disconnects != nil { // each client must still be disconnected a few times
		w.Disconnects = &load.Disconnects{Up: smallTime, Down: smallTime / 3}
		w.Time, w.Rate = 4*smallTime, 10*w.Rate
	}
	return &w
}

func shrinkRooms(r load.Rooms) load.Rooms {
	r.Count = min(r.Count, smallRooms)
	return r
}
