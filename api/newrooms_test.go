package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/limits"
)

// startNewRooms starts a node on which each caller may create rooms at rate, and none exists.
func startNewRooms(t *testing.T, rate string, tune ...func(*setup)) *harness {
	t.Helper()
	r, err := limits.ParseRate(rate)
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, append(tune, func(s *setup) { s.api.NewRoomRate = limits.NewLocalLimiter(r) })...)
	h.log.rooms.Store(&sync.Map{})
	return h
}

// A publish that creates a room takes a token, and one to an existing room does not. Without
// a token only existing rooms accept events.
func TestNewRooms(t *testing.T) {
	h := startNewRooms(t, "1/h,2")
	publish := func(room string) answer {
		return h.request("POST", "/v1/rooms/"+room+"/events", `{"data":1}`)
	}
	for range 5 {
		for _, room := range []string{"a", "b"} {
			if a := publish(room); a.status != http.StatusCreated {
				t.Fatalf("%s: %d %s", room, a.status, a.body)
			}
		}
	}
	before := h.newest()
	a := publish("c")
	p := a.problem(t)
	wait := a.header.Get("Retry-After")
	if a.status != http.StatusTooManyRequests || p.Code != "too-many-new-rooms" || wait < "3590" || wait > "3600" || strings.Contains(p.Detail, "secret") {
		t.Errorf("%d %s, Retry-After %s", a.status, a.body, wait)
	}
	if h.newest() != before {
		t.Error("something was stored")
	}
	if a := publish("a"); a.status != http.StatusCreated {
		t.Errorf("an existing room: %d %s", a.status, a.body)
	}
	c := h.dial()
	c.send(`{"op":"publish","room":"d","data":1,"ref":1}`)
	if f := c.frame(); !strings.HasPrefix(f, `{"op":"error","code":"too-many-new-rooms"`) || !strings.Contains(f, `"retry_after":3`) {
		t.Errorf("over a WebSocket: %s", f)
	}
	if n := h.limit("new-rooms"); n != 2 {
		t.Errorf("the limit was reached %v times, want 2", n)
	}
}

// In a batch, the first new rooms are created as far as the rate allows, also with many
// events each. The other events for new rooms fail.
func TestNewRoomsOfABatch(t *testing.T) {
	h := startNewRooms(t, "1/h,3")
	h.publish("old", "1")
	var events []string
	for _, room := range strings.Fields("old a a a b c c old a") {
		events = append(events, fmt.Sprintf(`{"room":%q,"data":1}`, room))
	}
	a := h.request("POST", "/v1/events", `{"events":[`+strings.Join(events, ",")+`]}`)
	// Two tokens are left. The node does not know that the room "old" exists.
	if got := strings.Count(a.body, `"code":"too-many-new-rooms"`); a.status != http.StatusOK || got != 3 {
		t.Errorf("%d, %d events refused, want 3: %s", a.status, got, a.body)
	}
	if a := h.request("POST", "/v1/rooms/b/events", `{"data":1}`); a.status != http.StatusCreated {
		t.Errorf("the token that was not spent is lost: %d %s", a.status, a.body)
	}
}

// Publishes at the same time do not create more rooms than the rate allows, and each caller
// has a rate of its own.
func TestNewRoomsAtOnce(t *testing.T) {
	h := startNewRooms(t, "1/h,3", withAuth(t))
	h.log.appendDelay.Store(int64(20 * time.Millisecond))
	for _, user := range []string{"ann", "bob"} {
		bearer := "Bearer " + tokenBy(t, authSecret, user, time.Hour, access.Scopes{Publish: []string{"*"}})
		answers := make(chan int)
		for i := range 20 {
			go func() {
				a, _ := h.try("POST", fmt.Sprintf("/v1/rooms/%s%d/events", user, i), `{"data":1}`, "Authorization", bearer)
				answers <- a.status
			}()
		}
		created := 0
		for range 20 {
			if <-answers == http.StatusCreated {
				created++
			}
		}
		if created != 3 {
			t.Errorf("%s created %d rooms, want 3", user, created)
		}
	}
}
