// Package keys names the keys and channels of a partition in Redis. Deployments depend on
// the names, so they must not change. Package redislog documents them.
package keys

import (
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// A Partition names the keys and channels of one partition. They share a hash tag, so
// that in a Cluster they are in one slot and one script can use all of them.
type Partition struct {
	ID streams.Partition

	tag      string // prefix of all keys and channels: "{prefix:partition}"
	channels string // prefix of the rooms' channels
}

// New returns the names of a partition under prefix in database db.
//
// Redis's channels are shared by all databases. Each database other than 0 therefore has
// its own channel names. Otherwise two logs with the same prefix in two databases would
// receive each other's events.
func New(prefix string, id streams.Partition, db int) Partition {
	p := Partition{ID: id, tag: "{" + prefix + ":" + strconv.Itoa(int(id)) + "}"}
	p.channels = p.tag + ":c"
	if db != 0 {
		p.channels += strconv.Itoa(db)
	}
	p.channels += ":"
	return p
}

// Tag returns the prefix of all keys and channels of the partition.
func (p *Partition) Tag() string { return p.tag }

// Clock is the key of the partition's clock.
func (p *Partition) Clock() string { return p.tag + ":clock" }

// Stream is the key of a room's events.
func (p *Partition) Stream(room streams.Room) string { return p.tag + ":s:" + string(room) }

// Tail is the key of a room's tail record.
func (p *Partition) Tail(room streams.Room) string { return p.tag + ":t:" + string(room) }

// Record is the key of an idempotency record. A room's name contains no slash, so two
// pairs of room and key never share a record.
func (p *Partition) Record(room streams.Room, key string) string {
	return p.tag + ":k:" + string(room) + "/" + key
}

// Channel is the channel of a room's events. That of the room "" is the partition's own.
func (p *Partition) Channel(room streams.Room) string { return p.channels + string(room) }

// FeedProbe is the channel of the feed probes with that name. No room has this channel.
func (p *Partition) FeedProbe(name string) string { return p.tag + ":p:" + name }

// RoomOf returns the room that has the channel. ok is false for other channels.
func (p *Partition) RoomOf(channel string) (room streams.Room, ok bool) {
	name, ok := strings.CutPrefix(channel, p.channels)
	return streams.Room(name), ok
}
