package service

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/streams"
)

// Options tunes a Node. The zero value of each field means its default.
type Options struct {
	// Name identifies the node in logs and to clients; default "tidemark".
	Name string

	// Retention says how much the log keeps of each room. The first rule whose pattern
	// matches the room applies. Without one, DefaultRetention does.
	Retention []RetentionRule

	// Queue bounds the events that wait for one connection; default 256. A connection
	// whose queue is full catches up from the log.
	Queue int

	// Hot bounds the newest events of a followed room that the node keeps in memory. All
	// connections share them. Default 1,000, and at most 1 MiB of data.
	Hot int

	// MaxFollowedRooms bounds the rooms that the node follows; default 100,000. When it is
	// reached, rooms that linger are left early, and then Subscribe returns ErrRoomsFull.
	MaxFollowedRooms int

	// ReplayMemory bounds the data, in bytes, of the events that the node has read from the
	// log and not handed to connections yet, and separately that of all hot tails together;
	// default 128 MiB. Replays that need more wait for their turn.
	ReplayMemory int64

	// CheckEvery is the period of the tail check, which looks up the last id of each
	// followed room. It finds a lost newest event within two periods. Default 3 s.
	CheckEvery time.Duration

	// Linger is how long the node follows a room after its last connection left, so that
	// a returning client finds the room in memory. Default 30 s.
	Linger time.Duration

	Logger  *slog.Logger          // default: no logging
	Metrics prometheus.Registerer // default: no metrics

	// Tracing makes events carry the trace of their publish, and creates a span for each
	// delivery of a traced event; default: no tracing.
	Tracing trace.TracerProvider
}

// DefaultRetention returns the retention of a room that matches no rule: 1,000 events for
// 24 hours.
func DefaultRetention() streams.Retention {
	return streams.Retention{Events: 1000, Age: 24 * time.Hour}
}

const (
	// hotBytes bounds the data of a room's hot tail: a thousand events of 1 KiB.
	hotBytes = 1 << 20
	// queueBytes bounds the data that waits for one connection. The data is shared, but a
	// stalled connection may be the last one that keeps it in memory.
	queueBytes = 1 << 20
	// batch bounds the events that one call of Next returns, so that a connection that
	// catches up yields to the others.
	batch = 256
	// batchBytes bounds their data, except that one event may exceed it. A connection that
	// does not read holds one batch.
	batchBytes = 256 << 10
)

func (o Options) withDefaults() Options {
	o.Name = cmp.Or(o.Name, "tidemark")
	o.Queue = cmp.Or(o.Queue, 256)
	o.Hot = cmp.Or(o.Hot, 1000)
	o.MaxFollowedRooms = cmp.Or(o.MaxFollowedRooms, 100_000)
	o.ReplayMemory = cmp.Or(o.ReplayMemory, 128<<20)
	o.CheckEvery = cmp.Or(o.CheckEvery, 3*time.Second)
	o.Linger = cmp.Or(o.Linger, 30*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// A RetentionRule gives the rooms whose names match Pattern a retention.
type RetentionRule struct {
	Pattern   string // "*" matches any characters, or none
	Retention streams.Retention
}

// retention returns how much the log keeps of room.
func (o *Options) retention(room streams.Room) streams.Retention {
	for _, rule := range o.Retention {
		if room.Matches(rule.Pattern) {
			return rule.Retention
		}
	}
	return DefaultRetention()
}
