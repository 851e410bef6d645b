//go:build linux

package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/internal/ws"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A receiptBook records the answers that publishers got.
type receiptBook struct {
	mu      sync.Mutex        // guards the fields below
	ids     map[string]string // by data; "" for an event that was refused
	refused int
}

func newReceiptBook() *receiptBook { return &receiptBook{ids: make(map[string]string)} }

// note records the answer for data: the event's id, or "" for a refusal.
func (l *receiptBook) note(data, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[data] = id
	if id == "" {
		l.refused++
	}
}

func (l *receiptBook) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// acknowledged returns the acknowledged ids in the order of the log.
func (l *receiptBook) acknowledged() (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.ids {
		if id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// settle compares the answers with the log: every acknowledged event is in the log once, and
// every event in the log was acknowledged.
func (l *receiptBook) settle(t *testing.T, log []logged) {
	t.Helper()
	if d := logtest.Compare(l.acknowledged(), idsOf(log)); !d.OK() {
		t.Errorf("the log compared with the acknowledged events: %v", d)
	}
	for _, e := range log {
		if l.ids[e.Data] == "" {
			t.Errorf("%q is in the log and was not acknowledged", e.Data)
		}
	}
}

// A logged is an event in a room's history.
type logged struct{ ID, Data string }

func idsOf(log []logged) []string {
	ids := make([]string, len(log))
	for i, e := range log {
		ids[i] = e.ID
	}
	return ids
}

// history returns all events that the log keeps of room.
func (s *server) history(room string) (all []logged) {
	s.t.Helper()
	for next := ""; ; {
		status, text := s.get("/v1/rooms/" + room + "/events?limit=1000&after=" + next)
		var page struct {
			Events []logged
			Next   string
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != http.StatusOK {
			s.t.Fatalf("history: %d %s", status, text)
		}
		all = append(all, page.Events...)
		if next = page.Next; next == "" {
			return all
		}
	}
}

// publishUntilRefused publishes over REST, one event after the other, until the node refuses
// one or ends the connection.
func publishUntilRefused(t *testing.T, s *server, name string, l *receiptBook) {
	kept := &http.Transport{}
	defer kept.CloseIdleConnections()
	client := &http.Client{Transport: kept, Timeout: wait.Limit}
	for i := 0; ; i++ {
		data := fmt.Sprint(name, i)
		id, err := publishTo(client, s.URL(), "lobby", data, "")
		var refused *refusal
		switch {
		case err == nil:
			l.note(data, id)
			continue
		case errors.As(err, &refused) && refused.status == http.StatusServiceUnavailable && strings.Contains(refused.text, `"code":"draining"`):
			l.note(data, "")
		case errors.As(err, &refused):
			t.Errorf("publish: %v", err)
		}
		return
	}
}

// publishOnSocketUntilRefused does the same over a WebSocket.
func publishOnSocketUntilRefused(t *testing.T, c *caller, name string, l *receiptBook) {
	line, err := c.dial()
	if err == nil {
		defer line.Close()
		err = line.openSocket()
	}
	if err != nil {
		t.Error(err)
		return
	}
	for i := 0; ; i++ {
		data := fmt.Sprint(name, i)
		id, err := line.publish("lobby", data, "")
		if err == nil {
			l.note(data, id)
		}
		if err != nil || id == "" {
			return
		}
	}
}

// publish publishes over the socket, with a key unless it is "", and returns the id. The id
// "" means that the node refused the event because it is draining. After an error the
// outcome is unknown.
func (l *conn) publish(room, data, key string) (id string, err error) {
	ask := map[string]string{"op": "publish", "room": room, "data": data}
	if key != "" {
		ask["key"] = key
	}
	text, err := json.Marshal(ask)
	if err != nil {
		return "", err
	}
	if err := l.sendText(string(text)); err != nil {
		return "", err
	}
	return l.readPublished()
}

// readPublished reads the answer to a publish.
func (l *conn) readPublished() (id string, err error) {
	kind, text, err := l.readFrame()
	if err != nil {
		return "", err
	}
	var said struct{ Op, ID, Code string }
	if kind == ws.Close || json.Unmarshal(text, &said) != nil || said.Op != "published" && said.Code != "draining" {
		return "", fmt.Errorf("instead of an answer: %q", text)
	}
	return said.ID, nil
}

// A node that receives SIGTERM under load first reports that it is not ready. Then it
// disconnects its clients over some time and tells each to return after a different delay.
// It answers all requests that it has begun, and exits with code 0.
func TestScenario39SIGTERMUnderLoad(t *testing.T) {
	const clients, publishers = 100, 8 // of each transport
	redis := redistest.StartProcess(t)
	s := serve(t, "--redis", redis.URL(), "--retain", "*=100000")
	c := &caller{to: s.Addr}
	var follows []*follower
	for range clients {
		for _, over := range transports() {
			follows = append(follows, followRoom(t, followOptions{over: over, room: "quiet", dial: c.dial, rejected: func() {
				if ready(s) {
					t.Errorf("%v: drained by a node that says it is ready", over)
				}
			}}))
		}
	}
	l := newReceiptBook()
	var running sync.WaitGroup
	for i := range publishers {
		running.Go(func() { publishUntilRefused(t, s, fmt.Sprintf("rest%d/", i), l) })
		running.Go(func() { publishOnSocketUntilRefused(t, c, fmt.Sprintf("socket%d/", i), l) })
	}
	slow := beginPublishes(t, c, publishers)
	if !wait.For(func() bool { return l.len() > 50*publishers }) {
		t.Fatal("the load does not begin")
	}
	if !ready(s) {
		t.Fatal("not ready before the signal")
	}
	s.Signal(syscall.SIGTERM)
	for _, f := range follows {
		f.Await("to be sent away", func(s *follow.State) bool { return len(rejectionsIn(s)) > 0 })
	}
	for _, p := range slow {
		p.end(t, l)
	}
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
	running.Wait()
	checkRejections(t, follows)
	again := serve(t, "--redis", redis.URL())
	l.settle(t, again.history("lobby"))
	t.Logf("%d publishes acknowledged, %d refused by the draining node", len(l.acknowledged()), l.refused)
}

// ready reports whether the node says that it is ready. It returns false if nothing answers.
func ready(s *server) bool {
	res, err := s.http.Get(s.URL() + "/readyz")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// checkRejections fails the test unless each client got exactly one valid drain message, and
// all of them were spread over some time.
func checkRejections(t *testing.T, follows []*follower) {
	t.Helper()
	var times []time.Time
	retries := make(map[time.Duration]bool)
	for _, f := range follows {
		<-f.Reading()
		all := f.rejections()
		first := all[0]
		times = append(times, first.At)
		if f.over == follow.SSE {
			retries[first.Retry] = true
		}
		want := [...]string{follow.SSE: "draining", follow.WebSocket: "1012"}[f.over]
		if len(all) != 1 || first.Code != want || f.over == follow.SSE && (first.Retry < 2*time.Second || first.Retry > 3*time.Second) {
			t.Errorf("%v: drained with %+v", f.over, all)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	spread := times[len(times)-1].Sub(times[0])
	t.Logf("%d clients were drained over %v, with %d different delays", len(times), spread, len(retries))
	if spread < time.Second || len(retries) < len(times)/8 {
		t.Errorf("%d clients were drained within %v, with %d different delays", len(times), spread, len(retries))
	}
}

// A halfPublish is a publish of which the node has read the first half.
type halfPublish struct {
	line       *conn
	data, rest string
}

// beginPublishes begins n publishes. The handler that reads the body has sent each client
// 100 Continue.
func beginPublishes(t *testing.T, c *caller, n int) (begun []halfPublish) {
	t.Helper()
	for i := range n {
		l, err := c.dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.reset)
		p := halfPublish{line: l, data: fmt.Sprint("slow", i)}
		body := fmt.Sprintf(`{"data":%q}`, p.data)
		head, _ := strings.CutSuffix(post("/v1/rooms/lobby/events", body, "Expect: 100-continue"), body)
		if err := l.expect(head, http.StatusContinue); err != nil {
			t.Fatal(err)
		}
		if err := l.send(body[:5]); err != nil {
			t.Fatal(err)
		}
		p.rest = body[5:]
		begun = append(begun, p)
	}
	return begun
}

// end sends the other half and expects that the event is stored.
func (p halfPublish) end(t *testing.T, l *receiptBook) {
	t.Helper()
	if err := p.line.send(p.rest); err != nil {
		t.Errorf("%s: %v", p.data, err)
		return
	}
	id, err := p.line.readReceipt()
	if err != nil {
		t.Errorf("%s: %v", p.data, err)
		return
	}
	l.note(p.data, id)
}

// readReceipt reads the answer to a publish over REST.
func (l *conn) readReceipt() (id string, err error) {
	res, err := l.answer()
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", errors.New(res.Status)
	}
	var receipt struct{ ID string }
	err = json.NewDecoder(res.Body).Decode(&receipt)
	return receipt.ID, err
}

// Publishes that wait for the log when the signal comes are answered over both transports,
// although the time to disconnect their clients passes meanwhile.
func TestScenario39InFlight(t *testing.T) {
	const publishers = 40 // on each transport
	redis := redistest.StartProcess(t)
	s := serve(t, "--redis", redis.URL(), "--retain", "*=100000")
	c := &caller{to: s.Addr}
	fill(t, s, "lobby", 1)
	var idle []*follower
	for range publishers {
		idle = append(idle, followRoom(t, followOptions{over: follow.WebSocket, room: "quiet", dial: c.dial}))
	}
	var rest, sockets []*conn
	for range publishers {
		rest, sockets = append(rest, mustDial(t, c)), append(sockets, mustDial(t, c))
		must(t, sockets[len(sockets)-1].openSocket())
	}
	client := redis.Client()
	ctx := context.Background()
	must(t, client.Do(ctx, "CLIENT", "PAUSE", wait.Limit.Milliseconds(), "WRITE").Err())
	for i := range publishers {
		must(t, rest[i].send(post("/v1/rooms/lobby/events", `{"data":"rest"}`)))
		must(t, sockets[i].sendText(`{"op":"publish","room":"lobby","data":"socket"}`))
	}
	s.awaitRead(slices.Concat(rest, sockets))
	s.Signal(syscall.SIGTERM)
	if !wait.For(func() bool { return rejected(idle) >= publishers/2 }) {
		t.Fatal("the idle clients are not drained")
	}
	must(t, client.Do(ctx, "CLIENT", "UNPAUSE").Err())
	var answered []string
	for i := range publishers {
		id, err := rest[i].readReceipt()
		if err != nil {
			t.Errorf("REST: %v", err)
		}
		other, err := sockets[i].readPublished()
		if err != nil || other == "" {
			t.Errorf("WebSocket: %v", err)
		}
		answered = append(answered, id, other)
		if code, err := sockets[i].awaitClose(); code != 1012 {
			t.Errorf("WebSocket: closed with %d, %v", code, err)
		}
		must(t, sockets[i].Close())
	}
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
	again := serve(t, "--redis", redis.URL())
	slices.Sort(answered)
	if d := logtest.Compare(answered, idsOf(again.history("lobby"))[1:]); !d.OK() {
		t.Errorf("the log compared with the answers: %v", d)
	}
}

// A second signal ends a node at once, even while it waits for a client.
func TestScenario39SecondSignal(t *testing.T) {
	s := serve(t, "--data", t.TempDir())
	beginPublishes(t, &caller{to: s.Addr}, 1)
	s.Signal(syscall.SIGTERM)
	if !wait.For(func() bool { return !ready(s) }) {
		t.Fatal("it is still ready")
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != -1 {
		t.Errorf("exit code %d: it ended in order, want by the signal", code)
	}
}

// rejected counts the connections that the server has ended.
func rejected(follows []*follower) (n int) {
	for _, f := range follows {
		n += len(f.rejections())
	}
	return n
}

// awaitRead waits until the server has read everything sent on the connections.
func (s *server) awaitRead(lines []*conn) {
	s.t.Helper()
	read := func() bool {
		connections := s.connections()
		return !slices.ContainsFunc(lines, func(l *conn) bool {
			c, stands := connections[l.LocalAddr().String()]
			return !stands || c.unread
		})
	}
	if !wait.For(read) {
		s.t.Fatal("the server does not read")
	}
}

func mustDial(t *testing.T, c *caller) *conn {
	t.Helper()
	l, err := c.dial()
	must(t, err)
	t.Cleanup(l.reset)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
