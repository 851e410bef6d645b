package serve

import (
	"fmt"
	"io"
	"strings"
)

// printFirstSteps shows a new user how to call a node that listens on address, which is
// host:port or unix:/path.
func printFirstSteps(w io.Writer, address string, hasTLS bool) {
	scheme, curl := "http", "curl"
	if hasTLS {
		scheme = "https"
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		address, curl = "localhost", "curl --unix-socket "+path
	}
	fmt.Fprintf(w, firstSteps, scheme+"://"+address, curl)
}

const firstSteps = `
Tidemark is at %[1]s

  publish   %[2]s --json '{"data":{"text":"hi"}}' %[1]s/v1/rooms/lobby/events
  follow    %[2]s -N -H 'Accept: text/event-stream' %[1]s/v1/rooms/lobby/events
  resume    %[2]s -N -H 'Accept: text/event-stream' -H 'Last-Event-ID: earliest' %[1]s/v1/rooms/lobby/events

To resume after an event, set Last-Event-ID to the "id:" of that event.

`
