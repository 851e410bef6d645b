//go:build linux

package edge

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/proxies"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/redistest"
)

const (
	// nodes is the number of nodes behind nginx; each is restarted rounds times.
	nodes, rounds = 3, 2
	// rollFollowers is the number of followers on each transport, rollPublishers that of
	// publishers over REST and over WebSocket.
	rollFollowers, rollPublishers = 10, 4
	// publishDelay is the delay between two events of a publisher. For each event, loses more are
	// sent without waiting for the answer.
	publishDelay, loses = 10 * time.Millisecond, 10
)

// A nodeGroup is three nodes on one Redis, behind nginx.
type nodeGroup struct {
	redis *redistest.Server
	nodes [nodes]*server
	front string // nginx's host:port
}

// startNodeGroup starts a nodeGroup, which ends with the test.
func startNodeGroup(t *testing.T) *nodeGroup {
	t.Helper()
	f := &nodeGroup{redis: redistest.StartProcess(t)}
	for i := range f.nodes {
		f.nodes[i] = f.start(t, "127.0.0.1:0")
	}
	var addrs []string
	for _, n := range f.nodes {
		addrs = append(addrs, n.Addr)
	}
	f.front = proxies.Nginx(t, proxies.Options{Nodes: addrs}).Addr
	return f
}

func (f *nodeGroup) start(t *testing.T, addr string) *server {
	t.Helper()
	return serve(t, "--redis", f.redis.URL(), "--listen", addr, "--retain", "*=1000000")
}

// restart ends a node with SIGTERM, and starts it again at its address.
func (f *nodeGroup) restart(t *testing.T, i int) {
	t.Helper()
	old := f.nodes[i]
	old.Signal(syscall.SIGTERM)
	if code := old.Wait(); code != 0 {
		t.Errorf("node %d: exit code %d\n%s", i, code, old.Stderr)
	}
	f.nodes[i] = f.start(t, old.Addr)
	if !wait.For(func() bool { return ready(f.nodes[i]) }) {
		t.Errorf("node %d is not ready", i)
	}
}

// A sender publishes over its own connection.
type sender interface {
	// send publishes one event. If it returns no id, the event may or may not be stored.
	send(data, key string) (id string, err error)
	// lose publishes and drops the connection before it has read the answer.
	lose(data, key string)
	close()
}

type restSender struct {
	client *http.Client
	caller *caller
	url    string
}

func (s restSender) lose(data, key string) {
	l, err := s.caller.dial()
	if err != nil {
		return
	}
	defer l.reset()
	if l.send(post("/v1/rooms/lobby/events", fmt.Sprintf(`{"data":%q}`, data), "Idempotency-Key: "+key)) == nil {
		_, _ = l.in.Peek(1)
	}
}

func (s restSender) send(data, key string) (string, error) {
	return publishTo(s.client, s.url, "lobby", data, key)
}

func (s restSender) close() { s.client.CloseIdleConnections() }

type socketSender struct {
	caller *caller
	line   *conn // nil before the first use and after an error
}

func (s *socketSender) send(data, key string) (id string, err error) {
	if s.line == nil {
		if s.line, err = s.caller.dial(); err != nil {
			return "", err
		}
		err = s.line.openSocket()
	}
	if err == nil {
		id, err = s.line.publish("lobby", data, key)
	}
	if err != nil {
		s.close()
	}
	return id, err
}

func (s *socketSender) lose(data, key string) {
	if s.line == nil {
		return
	}
	text := fmt.Sprintf(`{"op":"publish","room":"lobby","data":%q,"key":%q}`, data, key)
	if s.line.sendText(text) == nil {
		_, _ = s.line.in.Peek(1)
	}
	s.close()
}

func (s *socketSender) close() {
	if s.line != nil {
		s.line.Close()
		s.line = nil
	}
}

// A persistent publisher repeats each event with its key until the answer has an id.
type persistent struct {
	name        string
	sender      sender
	receiptBook *receiptBook
	repeats     int // owned by run
}

// run publishes until quit is closed.
func (p *persistent) run(t *testing.T, quit <-chan struct{}) {
	defer p.sender.close()
	for i := 0; ; i++ {
		select {
		case <-quit:
			return
		case <-time.After(publishDelay):
		}
		data := fmt.Sprint(p.name, i)
		if i%loses == 0 {
			p.sender.lose(data, data)
		}
		if err := p.publish(data); err != nil {
			t.Errorf("%s is not answered: %v", data, err)
			return
		}
	}
}

func (p *persistent) publish(data string) error {
	deadline := time.Now().Add(wait.Limit)
	for {
		id, err := p.sender.send(data, data)
		if id != "" {
			p.receiptBook.note(data, id)
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		p.repeats++
		time.Sleep(retryDelay)
	}
}

// Every node is restarted in turn, while publishers repeat with their keys and followers
// return with their cursors: no event is missing or repeated.
func TestScenario39RollingRestart(t *testing.T) {
	f := startNodeGroup(t)
	c := &caller{to: f.front}
	var follows []*follower
	for range rollFollowers {
		for _, over := range transports() {
			follows = append(follows, followRoom(t, followOptions{over: over, room: "lobby", cursor: "earliest", dial: c.dial, resumes: true}))
		}
	}
	l := newReceiptBook()
	quit := make(chan struct{})
	var publishers []*persistent
	var running sync.WaitGroup
	for i := range rollPublishers {
		client := &http.Client{Transport: &http.Transport{}, Timeout: wait.Limit}
		publishers = append(publishers,
			&persistent{name: fmt.Sprintf("rest%d/", i), receiptBook: l, sender: restSender{client, c, "http://" + f.front}},
			&persistent{name: fmt.Sprintf("socket%d/", i), receiptBook: l, sender: &socketSender{caller: c}})
	}
	for _, p := range publishers {
		running.Go(func() { p.run(t, quit) })
	}
	for range rounds {
		for i := range f.nodes {
			f.restart(t, i)
		}
	}
	close(quit)
	running.Wait()
	log := f.nodes[0].history("lobby")
	l.settle(t, log)
	repeats, returns := 0, 0
	for _, p := range publishers {
		repeats += p.repeats
	}
	for _, f := range follows {
		f.exactly(idsOf(log))
		returns += f.connections() - 1
	}
	t.Logf("%d events, %d publishes repeated; %d followers came back %d times", len(log), repeats, len(follows), returns)
	if repeats == 0 || returns < rounds*nodes {
		t.Error("no client noticed a restart: the test proves nothing")
	}
}
