package api_test

import (
	"net/http"
	"strings"
	"testing"
)

// The answer to each kind of publish names the level that was reached. A level that is
// unknown, or that the log does not support, stores nothing.
func TestDurability(t *testing.T) {
	h := start(t)
	for level, code := range map[string]string{
		`"logged"`:     "",
		`"fsynced"`:    "",
		`"replicated"`: "durability-unsupported", // by the embedded log
		`"forever"`:    "durability-unsupported",
		`1`:            "body-invalid",
	} {
		body := `{"data":1,"durability":` + level + `}`
		a := h.request("POST", "/v1/rooms/single/events", body)
		batch := h.batch(`[{"room":"batch","data":1,"durability":` + level + `}]`)[0]
		c := h.dial()
		c.send(`{"op":"publish","room":"socket","data":1,"durability":` + level + `}`)
		frame := c.frame()
		if code == "" {
			if a.status != http.StatusCreated || !strings.Contains(a.body, `"durability":"fsynced"`) {
				t.Errorf("%s: %d %s", level, a.status, a.body)
			}
			if batch.Durability != "fsynced" || !strings.Contains(frame, `"durability":"fsynced"`) {
				t.Errorf("%s: %+v, %s", level, batch, frame)
			}
			continue
		}
		if p := a.problem(t); p.Code != code || a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s, want %s", level, a.status, a.body, code)
		}
		if batch.code() != code || !strings.Contains(frame, `"op":"error"`) {
			t.Errorf("%s: %+v, %s", level, batch, frame)
		}
	}
	for _, room := range []string{"single", "batch", "socket"} {
		if n := len(h.history(room, "").Events); n != 2 {
			t.Errorf("%d events in %q, want 2", n, room)
		}
	}
}

// The problem about an event that did not reach its durability has the event's id. A repeat
// with the same key waits for the durability again.
func TestNotDurable(t *testing.T) {
	h := start(t)
	h.log.unsafe.Store(true)
	a := h.request("POST", "/v1/rooms/lobby/events", `{"data":1}`, "Idempotency-Key", "k")
	p := a.problem(t)
	if a.status != http.StatusServiceUnavailable || p.Code != "not-durable" || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "secret") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	r := h.batch(`[{"room":"lobby","data":1,"key":"k"}]`)[0]
	if r.code() != "not-durable" || r.Error.ID != a.id(t) {
		t.Errorf("in a batch: %+v, want the id %s", r, a.id(t))
	}
	c := h.dial()
	c.send(`{"op":"publish","room":"lobby","data":1,"key":"k"}`)
	c.expect(`{"op":"error","code":"not-durable","detail":"the event is logged, but not yet as safe as was asked for","room":"lobby","id":"` + a.id(t) + `"}`)

	h.log.unsafe.Store(false)
	if again := h.request("POST", "/v1/rooms/lobby/events", `{"data":1}`, "Idempotency-Key", "k"); again.status != http.StatusOK || again.id(t) != a.id(t) {
		t.Errorf("the repeat: %d %s", again.status, again.body)
	}
	if n := len(h.history("lobby", "").Events); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}
