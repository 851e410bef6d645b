// Package system starts the measured systems, Tidemark and its peers, as real processes
// on loopback. They all end with the process that started them.
package system

import (
	"context"

	"github.com/tidemark/tidemark/bench/load"
)

// A Transport is how clients follow a room.
type Transport string

// Transports.
const (
	SSE       Transport = "SSE"
	WebSocket Transport = "WebSocket"
)

// Options describes the work that a system must be ready for.
type Options struct {
	Dir    string // empty directory for its files; the caller removes it
	Retain int    // events that a room must keep
	Redis  *Redis // where to keep events; nil means in the system's memory or on its disk
}

// A System can be started, measured and stopped many times. It must be used by one
// goroutine.
type System interface {
	// Name returns the name in results: "tidemark", "nchan" or "socket.io".
	Name() string

	// Version returns the version of the installed system. It can be called at any
	// time.
	Version() (string, error)

	// Start returns once the system answers. If ctx ends first, Start fails. After an
	// error no process is left running.
	Start(ctx context.Context, o Options) error

	// Stop ends the started processes and waits for them. It does nothing if the system
	// is not running.
	Stop()

	// PIDs returns the processes whose processor time and memory count. Redis is not
	// included.
	PIDs() []int

	// Follow describes how to follow a room. ok is false if the system does not support
	// the transport.
	Follow(t Transport) (f load.Follow, ok bool)

	// Publish describes how to publish one event per request.
	Publish() load.Publish
}
