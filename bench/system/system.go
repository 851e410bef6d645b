// Package system starts what is measured: Tidemark and its peers, each as real
// processes on loopback. None of them outlives the process that started it.
package system

import (
	"context"

	"github.com/tidemark/tidemark/bench/load"
)

// A Transport is how clients follow.
type Transport string

// The transports.
const (
	SSE       Transport = "SSE"
	WebSocket Transport = "WebSocket"
)

// Options tell a system what it will have to do.
type Options struct {
	Dir    string // for its files; it exists, is empty, and the caller removes it
	Retain int    // events that a room has to keep
	Redis  *Redis // where the events are kept; nil: in the system's memory, or on its disk
}

// A System is something that can be measured. It is started and stopped many times,
// and used by one goroutine.
type System interface {
	// Name is the system's in tables: "tidemark", "nchan", "socket.io".
	Name() string

	// Version is what the installed system says of itself. It may be asked for at
	// any time.
	Version() (string, error)

	// Start returns once the system answers. It is stopped also when ctx ends.
	// After an error nothing of it runs.
	Start(ctx context.Context, o Options) error

	// Stop ends what Start started, and waits for it. A system that does not run is
	// left alone.
	Stop()

	// PIDs are the processes whose work and memory count: all but Redis's.
	PIDs() []int

	// Follow says how to follow a room, or ok is false: not over this transport.
	Follow(t Transport) (f load.Follow, ok bool)

	// Publish says how to publish, one event with each request.
	Publish() load.Publish
}
