package streams

import "time"

// A FeedProber is a Log that measures how long a published message takes to come back to this
// process. It uses only this process's clock.
type FeedProber interface {
	// FeedProbe returns the latest measurement, of the slowest partition. ok is false while
	// a partition has no measurement yet.
	FeedProbe() (p FeedProbe, ok bool)
}

// A FeedProbe is one measurement of the live feed.
type FeedProbe struct {
	Lag time.Duration // from publishing to receiving
	At  time.Time     // when the message was received
}
