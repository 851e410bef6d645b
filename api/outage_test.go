package api_test

import (
	"strings"
	"testing"
	"time"
)

// An open connection that needs nothing from the log gets one error per outage, which moves
// no cursor, and stays open.
func TestOutageIsReportedOnce(t *testing.T) { eachHTTP(t, testOutageIsReportedOnce) }

func testOutageIsReportedOnce(t *testing.T, over func(*setup)) {
	h := start(t, over, func(s *setup) { s.node.CheckEvery = 5 * time.Millisecond })
	s := h.follow("/v1/rooms/lobby/events")
	s.opened()
	s.events()
	c := h.dial()
	for _, room := range []string{"lobby", "hall"} {
		c.send(`{"op":"subscribe","room":"` + room + `"}`)
		c.events()
	}
	for range 3 {
		h.log.watermarksDown.Store(true)
		s.expect("event: tidemark.error\ndata: {\"code\":\"log-unavailable\",\"detail\":\"the log cannot be reached\"}\n")
		c.expect(`{"op":"error","code":"log-unavailable","detail":"the log cannot be reached"}`)
		h.await("tidemark_partitions_away 1")

		id := h.publish("lobby", "1") // no further error; new events still arrive
		s.expect("data: 1\nid: " + id + "\n")
		if f := c.frame(); !strings.Contains(f, id) {
			t.Errorf("%s, want event %s", f, id)
		}
		h.log.watermarksDown.Store(false)
		h.await("tidemark_partitions_away 0")
	}
}

// await returns when the metrics contain the line.
func (h *harness) await(line string) {
	h.t.Helper()
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if strings.Contains(h.request("GET", "/metrics", "").body, line+"\n") {
			return
		}
	}
	h.t.Fatalf("the metrics never contained %q", line)
}
