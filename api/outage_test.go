package api_test

import (
	"strings"
	"testing"
	"time"
)

// An open connection with nothing to ask the log is told of each outage once, in
// words that move no cursor, and stays.
func TestOutageIsToldOnce(t *testing.T) { eachHTTP(t, testOutageIsToldOnce) }

func testOutageIsToldOnce(t *testing.T, over func(*setup)) {
	h := start(t, over, func(s *setup) { s.node.CheckEvery = 5 * time.Millisecond })
	s := h.follow("/v1/rooms/lobby/events")
	s.opened()
	s.events()
	c := h.dial()
	for _, room := range []string{"lobby", "hall"} {
		c.say(`{"op":"subscribe","room":"` + room + `"}`)
		c.events()
	}
	for range 3 {
		h.log.edgesDown.Store(true)
		s.expect("event: tidemark.error\ndata: {\"code\":\"log-unavailable\",\"detail\":\"the log cannot be reached\"}\n")
		c.expect(`{"op":"error","code":"log-unavailable","detail":"the log cannot be reached"}`)
		h.await("tidemark_partitions_away 1")

		id := h.publish("lobby", "1") // nothing more is told, what comes comes
		s.expect("data: 1\nid: " + id + "\n")
		if f := c.frame(); !strings.Contains(f, id) {
			t.Errorf("%s, want event %s", f, id)
		}
		h.log.edgesDown.Store(false)
		h.await("tidemark_partitions_away 0")
	}
}

// await returns when the metrics have the line.
func (h *harness) await(line string) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if strings.Contains(h.request("GET", "/metrics", "").body, line+"\n") {
			return
		}
	}
	h.t.Fatalf("the metrics never said %q", line)
}
