package streams

import "time"

// A Prober is a Log that measures how long what is published takes to come back to
// this process, on this process's clock alone.
type Prober interface {
	// Probe returns the latest measurement: of a log with several partitions, that of
	// the slowest. ok is false where there is none yet, of some partition.
	Probe() (p Probe, ok bool)
}

// A Probe is one measurement.
type Probe struct {
	Lag time.Duration // from publishing to hearing
	At  time.Time     // when it was heard
}
