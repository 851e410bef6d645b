package fault_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	// filledRooms is the number of rooms that attackers read.
	filledRooms = 32
	// filledSize is the size in bytes of their events: the default of --max-data.
	filledSize = 64 << 10
	// fullRoom is the number of events in the first of the rooms: the default cap.
	fullRoom = 1000

	// tailRooms is the number of rooms for the hot tails of a node.
	tailRooms = 400
	// tailEvents is the number of events in each: they exceed the 1 MiB of a hot tail.
	tailEvents = 17
)

// filledEvents is the number of events in each filled room but the first: in the full run
// 512 MiB in all rooms.
func filledEvents() int {
	if thorough() {
		return 256
	}
	return 64
}

func filledRoom(i int) string { return fmt.Sprintf("filled-%d", i) }

func tailRoom(i int) string { return fmt.Sprintf("tail-%d", i) }

// fillLog publishes the events of a fill to the node at url.
func fillLog(t *testing.T, url string, f fill) {
	t.Helper()
	switch f {
	case rooms64K:
		fillRoom(t, url, filledRoom(0), fullRoom)
		for i := 1; i < filledRooms; i++ {
			fillRoom(t, url, filledRoom(i), filledEvents())
		}
	case tails:
		for i := range tailRooms {
			fillRoom(t, url, tailRoom(i), tailEvents)
		}
	}
}

// fillRoom publishes events of the size filledSize to a room.
func fillRoom(t *testing.T, url, room string, events int) {
	t.Helper()
	const batch = 100 // 6.4 MiB
	type event struct {
		Room string `json:"room"`
		Data string `json:"data"`
	}
	large := event{room, strings.Repeat("x", filledSize-2)} // without the quotes
	for events > 0 {
		n := min(events, batch)
		events -= n
		all := make([]event, n)
		for i := range all {
			all[i] = large
		}
		body, err := json.Marshal(map[string]any{"events": all})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(url+"/v1/events", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(answer, []byte(`"error"`)) {
			t.Fatalf("fill %s: %s, %v, %.200s", room, resp.Status, err, answer)
		}
	}
}
