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
	// Name tells nodes apart in logs and to clients; default "tidemark".
	Name string

	// Retention says what the log keeps: the first rule whose pattern matches a
	// room counts; where none does, DefaultRetention.
	Retention []RetentionRule

	// Queue bounds the events that wait for one connection; default 256. A
	// connection whose queue is full catches up from the log.
	Queue int

	// Hot bounds the newest events of a followed room that are kept in memory,
	// shared by all its connections; default 1,000, and 1 MiB of data.
	Hot int

	// CheckEvery is how often each followed room's last id is looked up, which
	// finds what was lost at the tail of a room gone quiet within two periods;
	// default 3 s.
	CheckEvery time.Duration

	// Linger is how long a room stays followed after its last connection left,
	// so that one that comes back finds it warm; default 30 s.
	Linger time.Duration

	Logger  *slog.Logger          // default: none
	Metrics prometheus.Registerer // default: none

	// Tracing has events carry the trace of their publish, and makes a span of the
	// delivery of each that has one; default: neither.
	Tracing trace.TracerProvider
}

// DefaultRetention is what the log keeps of a room for which no rule is given.
func DefaultRetention() streams.Retention {
	return streams.Retention{Events: 1000, Age: 24 * time.Hour}
}

const (
	// hotBytes bounds the data of a room's hot tail: a thousand events of 1 KiB.
	hotBytes = 1 << 20
	// queueBytes bounds the data that waits for one connection. The data is
	// shared, but a stalled connection may be the last to hold it.
	queueBytes = 1 << 20
	// batch bounds the events that one call of Next returns, so that a
	// connection that catches up yields to the others.
	batch = 256
)

func (o Options) withDefaults() Options {
	o.Name = cmp.Or(o.Name, "tidemark")
	o.Queue = cmp.Or(o.Queue, 256)
	o.Hot = cmp.Or(o.Hot, 1000)
	o.CheckEvery = cmp.Or(o.CheckEvery, 3*time.Second)
	o.Linger = cmp.Or(o.Linger, 30*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// A RetentionRule gives the rooms whose names match Pattern a retention.
type RetentionRule struct {
	Pattern string // "*" stands for any characters, also none
	Retention    streams.Retention
}

// retention returns what the log keeps of room.
func (o *Options) retention(room streams.Room) streams.Retention {
	for _, rule := range o.Retention {
		if room.Matches(rule.Pattern) {
			return rule.Retention
		}
	}
	return DefaultRetention()
}
