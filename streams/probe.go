package streams

import "time"

// A FeedProber is a Log that measures how long what is published takes to come back to
// this process, on this process's clock alone.
type FeedProber interface {
	// FeedProbe returns the latest measurement: of a log with several partitions, that of
	// the slowest. ok is false where there is none yet, of some partition.
	FeedProbe() (p FeedProbe, ok bool)
}

// A FeedProbe is one measurement.
type FeedProbe struct {
	Lag time.Duration // from publishing to hearing
	At  time.Time     // when it was heard
}
