package fault_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/ws"
)

const (
	// attemptLimit bounds one attempt of a publish. It is longer than the 5 s within which a
	// node always answers.
	attemptLimit = 7 * time.Second
	// finishLimit is how long a publisher tries to get the last answers once all faults have
	// ended. Only a missing answer makes a run reach it.
	finishLimit = time.Minute
	// Bounds of the delay between two attempts, which varies from half of it to all of it.
	retryFirst = 20 * time.Millisecond
	retryMax   = 400 * time.Millisecond
	// window is the number of frames that a publisher on a WebSocket sends ahead of the
	// answers.
	window = 8
)

// A way is how a publisher publishes.
type way int

const (
	oneByOne  way = iota // POST to the room
	inBatches            // POST /v1/events, several events of one room
	overRooms            // POST /v1/events, one event to several rooms
	onSocket             // frames on a WebSocket, several in flight
)

// A publisher publishes numbered events into its rooms, and repeats each with its
// idempotency key until it is acknowledged.
type publisher struct {
	w       *system
	index   int
	way     way
	rooms   []*room // one room, except with overRooms
	batch   int     // events at a time
	every   time.Duration
	padding int // per event, in bytes; 0 varies it

	url string // of a node, bypassing nginx; "" for nginx

	// heard, if set, is called with each answer and the time it took.
	heard func(resp *http.Response, took time.Duration)

	rng  *rand.Rand
	next int       // of the latest event
	due  time.Time // the time of the next publish
}

// run publishes until ctx ends, and then until every event is acknowledged.
func (p *publisher) run(ctx context.Context) {
	var socket publishSocket
	defer socket.close()
	p.due = time.Now()
	for ctx.Err() == nil {
		p.publish(&socket)
		p.pause(ctx)
	}
}

// publish publishes one batch, and returns when all of it is acknowledged.
func (p *publisher) publish(socket *publishSocket) {
	marks := make([]mark, p.batch)
	for i := range marks {
		p.next++
		marks[i] = makeMark(p.index, p.next)
	}
	p.w.counts.published.Add(int64(len(marks) * len(p.rooms)))
	p.untilAcknowledged(marks, socket)
}

// pause waits until the next publish is due, plus or minus a half. After an outage the
// publisher catches up on publishes of the last catchUp.
func (p *publisher) pause(ctx context.Context) {
	const catchUp = 2 * time.Second
	now := time.Now()
	if oldest := now.Add(-catchUp); p.due.Before(oldest) {
		p.due = oldest
	}
	p.due = p.due.Add(p.every/2 + rand.N(p.every))
	p.w.rest(ctx, p.due.Sub(now))
}

// untilAcknowledged publishes marks repeatedly until all are acknowledged.
func (p *publisher) untilAcknowledged(marks []mark, socket *publishSocket) {
	padding := p.sized()
	wait := retryFirst
	var since time.Time // when all faults had ended
	for {
		left, err := p.attempt(marks, padding, socket)
		if err == nil && len(left) == 0 {
			return
		}
		marks = left
		p.w.counts.repeats.Add(1)
		if p.w.settling.Load() && since.IsZero() {
			since = time.Now()
		}
		if !since.IsZero() && time.Since(since) > finishLimit {
			p.w.t.Errorf("publisher %d: %d events were never answered: %v", p.index, len(marks), err)
			return
		}
		time.Sleep(wait/2 + rand.N(wait/2))
		wait = min(2*wait, retryMax)
	}
}

// publishProbe publishes one event into the room of probes through a node, bypassing nginx,
// as soon as the node accepts it.
func (w *system) publishProbe(n *node) (m mark, ok bool) {
	p := &publisher{w: w, rooms: []*room{w.probes}, url: "http://" + n.addr}
	return w.publishOne(p)
}

// publishOne publishes one event into the publisher's room, with as many attempts as
// necessary.
func (w *system) publishOne(p *publisher) (m mark, ok bool) {
	w.mu.Lock()
	w.probed++
	m = makeMark(0, w.probed)
	w.mu.Unlock()
	w.counts.published.Add(1)
	deadline := time.Now().Add(finishLimit)
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(context.Background(), attemptLimit)
		err := p.post(ctx, m, 0)
		cancel()
		if err == nil {
			return m, true
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.t.Errorf("an event through %s was never acknowledged", p.url)
	return 0, false
}

// sized returns the padding of the next events: most are small.
func (p *publisher) sized() int {
	if p.padding > 0 {
		return p.padding
	}
	switch p.rng.IntN(50) {
	case 0:
		return 8 << 10
	case 1, 2, 3:
		return 1 << 10
	}
	return 20
}

// attempt publishes marks once, and returns those that were not acknowledged.
func (p *publisher) attempt(marks []mark, padding int, socket *publishSocket) (left []mark, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptLimit)
	defer cancel()
	switch p.way {
	case oneByOne:
		for i, m := range marks {
			if err := p.post(ctx, m, padding); err != nil {
				return marks[i:], err
			}
		}
		return nil, nil
	case onSocket:
		return p.send(marks, padding, socket)
	default:
		return p.postBatch(ctx, marks, padding)
	}
}

func (p *publisher) key(m mark) string { return p.w.keys + "-" + m.String() }

// errAnswer reports an answer after which the publisher must repeat.
var errAnswer = errors.New("not acknowledged")

// do sends a request to a node and decodes the answer's JSON into said.
func (p *publisher) do(ctx context.Context, path, key string, body []byte, said any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cmp.Or(p.url, p.w.edge.url)+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	began := time.Now()
	resp, err := p.w.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if p.heard != nil {
		p.heard(resp, time.Since(began))
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 500 {
		return fmt.Errorf("%w: %s", errAnswer, resp.Status)
	}
	if resp.StatusCode >= 300 {
		p.w.t.Errorf("publisher %d: a publish was refused: %s %s", p.index, resp.Status, text)
		return errAnswer
	}
	return json.Unmarshal(text, said)
}

func (p *publisher) post(ctx context.Context, m mark, padding int) error {
	body := append(m.appendData([]byte(`{"data":`), padding), '}')
	var said struct{ ID streams.ID }
	if err := p.do(ctx, "/v1/rooms/"+string(p.rooms[0].name)+"/events", p.key(m), body, &said); err != nil {
		return err
	}
	p.acknowledged(p.rooms[0], m, said.ID)
	return nil
}

func (p *publisher) acknowledged(r *room, m mark, id streams.ID) {
	r.ack(ack{entry{id, m}, p.w.now()})
	p.w.counts.acknowledged.Add(1)
}

// An outcome is the answer for one event of a batch in one room.
type outcome struct {
	ID    streams.ID
	Room  streams.Room
	Error *struct{ Code string }
	Rooms []outcome
}

// postBatch publishes marks in one batch. A mark that failed in some rooms is repeated in
// all of them; the others return the first result.
func (p *publisher) postBatch(ctx context.Context, marks []mark, padding int) (left []mark, err error) {
	var said struct{ Results []outcome }
	if err := p.do(ctx, "/v1/events", "", p.batchBody(marks, padding), &said); err != nil {
		return marks, err
	}
	if len(said.Results) != len(marks) {
		return marks, fmt.Errorf("%w: %d results for %d events", errAnswer, len(said.Results), len(marks))
	}
	for i, m := range marks {
		outcomes := said.Results[i].Rooms
		if p.way == inBatches {
			outcomes = said.Results[i : i+1]
		}
		if !p.all(outcomes) {
			left = append(left, m)
			continue
		}
		for k, o := range outcomes {
			p.acknowledged(p.rooms[k], m, o.ID)
		}
	}
	return left, nil
}

func (p *publisher) all(outcomes []outcome) bool {
	for _, o := range outcomes {
		if o.Error != nil {
			return false
		}
	}
	return len(outcomes) == len(p.rooms)
}

func (p *publisher) batchBody(marks []mark, padding int) []byte {
	b := []byte(`{"events":[`)
	for i, m := range marks {
		if i > 0 {
			b = append(b, ',')
		}
		if p.way == inBatches {
			b = fmt.Appendf(b, `{"room":%q`, p.rooms[0].name)
		} else {
			b = append(b, `{"rooms":[`...)
			for k, r := range p.rooms {
				if k > 0 {
					b = append(b, ',')
				}
				b = fmt.Appendf(b, `%q`, r.name)
			}
			b = append(b, ']')
		}
		b = fmt.Appendf(b, `,"key":%q,"data":`, p.key(m))
		b = append(m.appendData(b, padding), '}')
	}
	return append(b, `]}`...)
}

// A publishSocket is a WebSocket that is opened on first use.
type publishSocket struct{ conn *ws.Conn }

func (s *publishSocket) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// send publishes marks over the socket, several in flight. After an error it closes the
// socket.
func (p *publisher) send(marks []mark, padding int, socket *publishSocket) (left []mark, err error) {
	if socket.conn == nil {
		if socket.conn, err = dialSocket(cmp.Or(strings.TrimPrefix(p.url, "http://"), p.w.edge.addr)); err != nil {
			return marks, err
		}
	}
	acked, err := p.exchange(socket.conn, marks, padding)
	if err != nil {
		socket.close()
	}
	for i, m := range marks {
		if !acked[i] {
			left = append(left, m)
		}
	}
	return left, err
}

func dialSocket(addr string) (*ws.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, attemptLimit)
	if err != nil {
		return nil, err
	}
	socket, err := ws.Upgrade(conn, ws.Options{Timeout: openLimit})
	if err != nil {
		conn.Close()
	}
	return socket, err
}

// exchange writes a frame for each mark, at most window ahead of the answers, and returns
// which marks were acknowledged.
func (p *publisher) exchange(conn *ws.Conn, marks []mark, padding int) (acked []bool, err error) {
	acked = make([]bool, len(marks))
	deadline := time.Now().Add(attemptLimit)
	_ = conn.SetReadDeadline(deadline)
	_ = conn.SetWriteDeadline(deadline)
	var writer sync.WaitGroup
	defer writer.Wait()
	room := make(chan struct{}, window)
	done := make(chan struct{})
	defer close(done)
	writer.Go(func() {
		for i, m := range marks {
			select {
			case room <- struct{}{}:
			case <-done:
				return
			}
			if conn.WriteMessage(websocket.TextMessage, p.publishFrame(m, i, padding)) != nil {
				return // the reader receives the error too
			}
		}
	})
	for range marks {
		if err := p.answer(conn, marks, acked); err != nil {
			return acked, err
		}
		<-room
	}
	return acked, nil
}

func (p *publisher) publishFrame(m mark, ref, padding int) []byte {
	b := fmt.Appendf(nil, `{"op":"publish","room":%q,"key":%q,"ref":%d,"data":`, p.rooms[0].name, p.key(m), ref)
	return append(m.appendData(b, padding), '}')
}

// answer reads one answer.
func (p *publisher) answer(conn *ws.Conn, marks []mark, acked []bool) error {
	var said struct {
		Op, Code string
		ID       streams.ID
		Ref      int
	}
	if err := conn.ReadJSON(&said); err != nil {
		return err
	}
	if said.Op != "published" {
		return fmt.Errorf("%w: %s %s", errAnswer, said.Op, said.Code)
	}
	acked[said.Ref] = true
	p.acknowledged(p.rooms[0], marks[said.Ref], said.ID)
	return nil
}
