package measure

import (
	"time"

	"github.com/tidemark/tidemark/bench/load"
)

// What is left of a command in a run that is Small.
const (
	smallClients    = 8
	smallPublishers = 4
	smallRooms      = 4
	smallEvents     = 40
	smallPause      = 20 * time.Millisecond
	smallTime       = 100 * time.Millisecond
)

// small makes a command that of a handful of clients, which takes a moment. Each
// measure then does all its steps; its figures say nothing.
func small(c load.Command) load.Command {
	switch {
	case c.Open != nil:
		o := *c.Open
		o.Clients, o.Rooms = min(o.Clients, smallClients), fewRooms(o.Rooms)
		c.Open = &o
	case c.Work != nil:
		c.Work = smallWork(*c.Work)
	case c.Pause != nil:
		c.Pause = &load.Pause{Time: min(c.Pause.Time, smallPause)}
	}
	return c
}

func smallWork(w load.Work) *load.Work {
	w.Publishers, w.Rooms = min(w.Publishers, smallPublishers), fewRooms(w.Rooms)
	w.Events, w.Time = min(w.Events, smallEvents), min(w.Time, smallTime)
	if w.BadLines != nil { // each client has to be cut now and then all the same
		w.BadLines = &load.BadLines{Up: smallTime, Down: smallTime / 3}
		w.Time, w.Rate = 4*smallTime, 10*w.Rate
	}
	return &w
}

func fewRooms(r load.Rooms) load.Rooms {
	r.Count = min(r.Count, smallRooms)
	return r
}
