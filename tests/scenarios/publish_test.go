package scenarios_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/internal/ws"
)

// A sent is an acknowledged event.
type sent struct{ room, id, data string }

// truth holds the acknowledged events of all publishers: the expected events.
type truth struct {
	mu   sync.Mutex // guards the fields below
	sent []sent
}

func (tr *truth) add(events ...sent) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.sent = append(tr.sent, events...)
}

// of returns the events of rooms in the order of ids. Within a partition that is the order
// of the log.
func (tr *truth) of(rooms ...string) []sent {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var events []sent
	for _, s := range tr.sent {
		if slices.Contains(rooms, s.room) {
			events = append(events, s)
		}
	}
	slices.SortFunc(events, func(a, b sent) int { return strings.Compare(a.id, b.id) })
	return events
}

// after returns the events after a position.
func after(events []sent, id string) []sent {
	i, found := slices.BinarySearchFunc(events, id, func(s sent, id string) int { return strings.Compare(s.id, id) })
	if found {
		i++
	}
	return events[i:]
}

// An answer is the answer to a publish.
type answer struct {
	status   int // of HTTP; on a WebSocket, 201, or 0 with a code
	id       string
	replayed bool
	code     string // of the problem
}

// try publishes an event with data as a JSON string, and a key unless it is "". The error is
// one of the connection.
func (w *system) try(addr, room, data, key string) (answer, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/rooms/"+room+"/events",
		strings.NewReader(fmt.Sprintf(`{"data":%q}`, data)))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.GetBody = nil // keeps net/http from repeating the request by itself
	if key != "" {
		r.Header["Idempotency-Key"] = []string{key}
	}
	resp, err := w.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	var said struct{ ID, Code string }
	if err := json.Unmarshal(body, &said); err != nil {
		return answer{}, fmt.Errorf("answer %q: %w", body, err)
	}
	return answer{resp.StatusCode, said.ID, resp.Header.Get("Idempotency-Replayed") == "true", said.Code}, nil
}

// publish stores an event, which must succeed, and records it.
func (n *node) publish(room, data string) sent {
	n.w.t.Helper()
	a, err := n.w.try(n.addr, room, data, "")
	if err != nil || a.status != http.StatusCreated {
		n.w.t.Fatalf("publish %q in %s: %+v %v", data, room, a, err)
	}
	s := sent{room, a.id, data}
	n.w.truth.add(s)
	return s
}

// publishMany stores n events one after the other.
func (n *node) publishMany(room string, from, to int) {
	n.w.t.Helper()
	for i := from; i < to; i++ {
		n.publish(room, fmt.Sprint(room, " ", i))
	}
}

// fill stores events number from to to-1 of a room in batches. Each has at least size bytes
// of data.
func (n *node) fill(room string, from, to, size int) {
	n.w.t.Helper()
	type event struct {
		Room string `json:"room"`
		Data string `json:"data"`
	}
	for part := range slices.Chunk(numbers(from, to), 100) {
		events := make([]event, len(part))
		for i, number := range part {
			events[i] = event{room, fmt.Sprint(room, " ", number)}
			events[i].Data += strings.Repeat(".", max(0, size-len(events[i].Data)))
		}
		body, err := json.Marshal(map[string]any{"events": events})
		if err != nil {
			n.w.t.Fatal(err)
		}
		for i, r := range n.batch(string(body)) {
			if r.ID == "" {
				n.w.t.Fatalf("batch: %+v", r)
			}
			n.w.truth.add(sent{room, r.ID, events[i].Data})
		}
	}
}

func numbers(from, to int) []int {
	all := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// A result is the result of one event of a batch.
type result struct {
	ID       string
	Replayed bool
	Error    struct{ Code string }
}

// batch posts the body of a batch and returns its results.
func (n *node) batch(body string) []result {
	n.w.t.Helper()
	resp, err := n.w.http.Post("http://"+n.addr+"/v1/events", "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		n.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.w.t.Fatal(err)
	}
	var said struct{ Results []result }
	if err := json.Unmarshal(text, &said); err != nil || resp.StatusCode != http.StatusOK {
		n.w.t.Fatalf("batch: %d %.300s %v", resp.StatusCode, text, err)
	}
	return said.Results
}

// history returns the events that the log keeps of a room, in its order.
func (w *system) history(addr, room string) []sent {
	w.t.Helper()
	var all []sent
	next := ""
	for {
		status, body, err := w.get("http://" + addr + "/v1/rooms/" + room + "/events?limit=1000&after=" + next)
		var page struct {
			Events []struct{ ID, Data string }
			Next   string
		}
		if err == nil {
			err = json.Unmarshal(body, &page)
		}
		if err != nil || status != http.StatusOK {
			w.t.Fatalf("history: %d %.300s %v", status, body, err)
		}
		for _, e := range page.Events {
			all = append(all, sent{room, e.ID, e.Data})
		}
		if len(page.Events) == 0 || page.Next == "" {
			return all
		}
		next = page.Next
	}
}

// A publisher publishes over one of the transports.
type publisher func(room, data, key string) (answer, error)

// publisher returns a publisher to addr: over HTTP, or on its own WebSocket, which it dials
// again after an error.
func (w *system) publisher(addr func() string, over follow.Transport) publisher {
	if over.Streams() {
		return func(room, data, key string) (answer, error) { return w.try(addr(), room, data, key) }
	}
	var socket *ws.Conn
	w.t.Cleanup(func() {
		if socket != nil {
			socket.Close()
		}
	})
	return func(room, data, key string) (answer, error) {
		if socket == nil {
			var err error
			if socket, err = ws.Dial("http://"+addr(), ws.Options{}); err != nil {
				return answer{}, err
			}
		}
		a, err := publishOn(socket, room, data, key)
		if err != nil {
			socket.Close()
			socket = nil
		}
		return a, err
	}
}

func publishOn(socket *ws.Conn, room, data, key string) (answer, error) {
	message := map[string]any{"op": "publish", "room": room, "data": data, "ref": 1}
	if key != "" {
		message["key"] = key
	}
	if err := socket.WriteJSON(message); err != nil {
		return answer{}, err
	}
	_ = socket.SetReadDeadline(time.Now().Add(wait.Limit))
	var said struct {
		Op, ID, Code string
		Replayed     bool
	}
	if err := socket.ReadJSON(&said); err != nil {
		return answer{}, err
	}
	if said.Op != "published" {
		return answer{code: said.Code}, nil
	}
	return answer{http.StatusCreated, said.ID, said.Replayed, ""}, nil
}

// must fails the test unless the event is stored, by this publish or an earlier one.
func must(t *testing.T, a answer, err error) answer {
	t.Helper()
	if err != nil || a.id == "" || a.status != http.StatusCreated && a.status != http.StatusOK {
		t.Fatalf("publish: %+v %v", a, err)
	}
	return a
}

// refused fails the test unless the publish was refused with the code.
func refused(t *testing.T, a answer, err error, code string) {
	t.Helper()
	if err != nil || a.code != code || a.id != "" {
		t.Fatalf("publish: %+v %v, want code %s", a, err, code)
	}
}
