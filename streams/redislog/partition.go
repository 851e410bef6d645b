package redislog

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidemark/tidemark/streams"
)

// A partition is what this process knows of one partition of the log.
type partition struct {
	// Fixed by newPartition, and by Open the writers.
	id       streams.Partition
	tag      string // what all its keys and channels start with
	channels string // what all its channels start with

	writers  [needs]*writer                // by what their appends wait for
	checked  atomic.Bool                   // its clock is there and fits
	syncs    atomic.Bool                   // its Redis can be asked to wait for its disk
	probed   atomic.Pointer[streams.FeedProbe] // the latest; nil before there is one
	checking chan struct{}                 // holds one token; taken by whoever checks

	mu     sync.Mutex // guards the fields below
	seen   []sighting
	newest streams.ID // the newest id that this process has seen or handed out
}

// A sighting is an event that this process knows to have been in the log.
//
// A loss takes the end of the log, so that an event vouches for those before it,
// but only if they were in the log together: when a master is replaced, appends may
// go to the new one already while a feed still listens to the old one. So there is
// one for each feed, which hears of one log while its connection stands, and one
// for each append that has not been followed by another, for an append looks for
// all that are known when it is sent. That makes two or three, where many publish.
type sighting struct {
	room streams.Room
	id   streams.ID
	by   any // the session or the reading whose later sightings take its place; nil for none
}

func newPartition(prefix string, id streams.Partition) *partition {
	p := &partition{
		id:       id,
		tag:      "{" + prefix + ":" + strconv.Itoa(int(id)) + "}",
		checking: make(chan struct{}, 1),
	}
	p.channels = p.tag + ":c:"
	p.checking <- struct{}{}
	return p
}

// inDatabase gives p channels of its own in any database but 0, for to Redis a
// channel is the same in all of them: a log with the same prefix in another
// database would be heard here.
func (p *partition) inDatabase(db int) *partition {
	if db != 0 {
		p.channels = p.tag + ":c" + strconv.Itoa(db) + ":"
	}
	return p
}

func (p *partition) clock() string                    { return p.tag + ":clock" }
func (p *partition) stream(room streams.Room) string  { return p.tag + ":s:" + string(room) }
func (p *partition) tail(room streams.Room) string    { return p.tag + ":t:" + string(room) }
func (p *partition) channel(room streams.Room) string { return p.channels + string(room) }

// probe is the channel of a feed's probes. No room's name can make it.
func (p *partition) probe(name string) string { return p.tag + ":p:" + name }

// record is the key of an idempotency record. No room has a slash in its name.
func (p *partition) record(room streams.Room, key string) string {
	return p.tag + ":k:" + string(room) + "/" + key
}

// roomOf is the reverse of channel.
func (p *partition) roomOf(channel string) (streams.Room, bool) {
	room, ours := strings.CutPrefix(channel, p.channels)
	return streams.Room(room), ours
}

// saw notes an event that by has found in the log.
func (p *partition) saw(by any, room streams.Room, id streams.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest = streams.Later(p.newest, id)
	for i := range p.seen {
		if p.seen[i].by == by {
			if p.seen[i].id.Before(id) {
				p.seen[i].room, p.seen[i].id = room, id
			}
			return
		}
	}
	p.seen = append(p.seen, sighting{room, id, by})
}

// passed notes an id that was handed out.
func (p *partition) passed(id streams.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest = streams.Later(p.newest, id)
}

// looked notes that the sightings at were looked for at one moment: what was lost
// of them has been noticed, and the newest vouches for the rest. If then is set, it
// was logged at that moment, and does so.
func (p *partition) looked(at []sighting, then sighting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = slices.DeleteFunc(p.seen, func(s sighting) bool { return slices.Contains(at, s) })
	for _, s := range at {
		if then.id.Before(s.id) {
			then = sighting{room: s.room, id: s.id}
		}
	}
	if !then.id.IsZero() {
		p.seen = append(p.seen, then)
	}
}

// sightings returns what is to be looked for.
func (p *partition) sightings() []sighting {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// newestKnown returns the newest event known to have been logged; zero for none.
func (p *partition) newestKnown() (id streams.ID) {
	for _, s := range p.sightings() {
		id = streams.Later(id, s.id)
	}
	return id
}

func (p *partition) newestPassed() streams.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newest
}

// lookKeys and lookArgs are what luaLoss takes.
func (p *partition) lookKeys(at []sighting) []string {
	keys := make([]string, 0, 1+2*len(at))
	keys = append(keys, p.clock())
	for _, s := range at {
		keys = append(keys, p.stream(s.room), p.tail(s.room))
	}
	return keys
}

func (l *Log) lookArgs(p *partition, at []sighting) []any {
	args := make([]any, 0, 3+len(at))
	args = append(args, len(l.partitions), position(p.newestPassed()), len(at))
	for _, s := range at {
		args = append(args, position(s.id))
	}
	return args
}
