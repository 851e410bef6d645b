package redislog

import (
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

	writers  [needs]*writer // by what their appends wait for
	checked  atomic.Bool    // its clock is there and fits
	syncs    atomic.Bool    // its Redis can be asked to wait for its disk
	checking chan struct{}  // holds one token; taken by whoever checks

	mu        sync.Mutex // guards the fields below
	known     streams.ID // the newest event known to have been logged; zero for none
	knownRoom streams.Room
	newest    streams.ID // the newest id that this process has seen or handed out
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

// record is the key of an idempotency record. No room has a slash in its name.
func (p *partition) record(room streams.Room, key string) string {
	return p.tag + ":k:" + string(room) + "/" + key
}

// roomOf is the reverse of channel.
func (p *partition) roomOf(channel string) (streams.Room, bool) {
	room, ours := strings.CutPrefix(channel, p.channels)
	return streams.Room(room), ours
}

// saw notes that the event id of room was in the log.
func (p *partition) saw(room streams.Room, id streams.ID) { p.passed(room, id, true) }

// passed notes that the id was handed out, and whether it was ever logged.
func (p *partition) passed(room streams.Room, id streams.ID, logged bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest = streams.Later(p.newest, id)
	if logged && p.known.Before(id) {
		p.known, p.knownRoom = id, room
	}
}

func (p *partition) newestKnown() (streams.Room, streams.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.knownRoom, p.known
}

// knownStream and knownTail are the keys of the room with the newest event known.
// Where none is known they are any keys that are there: a slot on the move does not
// answer for keys that are not.
func (p *partition) knownStream(room streams.Room) string {
	if room == "" {
		return p.clock()
	}
	return p.stream(room)
}

func (p *partition) knownTail(room streams.Room) string {
	if room == "" {
		return p.clock()
	}
	return p.tail(room)
}

func (p *partition) newestPassed() streams.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newest
}
