//go:build linux

package edge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/tests/internal/ws"
	"github.com/tidemark/tidemark/tests/redistest"
)

const (
	// exchanges is the number of connections that come and go.
	exchanges = 100_000
	// exchangeRooms is the number of rooms that they use.
	exchangeRooms = 300
	// Redis answers nothing for stallFor, once every stallEvery.
	stallEvery, stallFor = 2 * time.Second, 200 * time.Millisecond
	// staying is the number of followers that keep their connections, on each transport.
	staying = 40
)

// An exchange is one connection, from its first byte to its last.
type exchange struct {
	name string
	play func(l *conn, room string) error
}

// allExchanges returns all kinds of connections, valid and invalid.
func allExchanges() []exchange {
	path := func(room string) string { return "/v1/rooms/" + room + "/events" }
	return slices.Concat([]exchange{
		{"a publish", func(l *conn, room string) error { return l.expect(post(path(room), `{"data":1}`), http.StatusCreated) }},
		{"history", func(l *conn, room string) error { return l.expect(request("GET", path(room)), http.StatusOK) }},
		{"half a header", func(l *conn, room string) error { text := stream(path(room)); return l.send(text[:len(text)/2]) }},
	}, streamExchanges(path), socketExchanges(), frameExchanges())
}

func streamExchanges(path func(room string) string) []exchange {
	open := func(path func(room string) string, fields ...string) func(*conn, string) error {
		return func(l *conn, room string) error {
			_, _, err := l.openStream(path(room), fields...)
			return err
		}
	}
	several := func(room string) string { return "/v1/events?room=lobby&since=earliest&room=" + room }
	refused := func(status int, path string) func(*conn, string) error {
		return func(l *conn, _ string) error { return l.expect(stream(path), status) }
	}
	return []exchange{
		{"a stream that is cut when it stands", open(path)},
		{"a stream that is cut before its answer", func(l *conn, room string) error { return l.send(stream(path(room))) }},
		{"a stream that is cut while the log is asked", func(l *conn, room string) error {
			return l.send(stream(path(room) + "?last=5"))
		}},
		{"a stream of several rooms that is cut in its replay", open(several)},
		{"a stream with a bad cursor", func(l *conn, room string) error {
			blocks, block, err := l.openStream(path("lobby"), "Last-Event-ID: nonsense")
			for err == nil && block.Event != "tidemark.gap" {
				block, err = blocks.Next()
			}
			return err
		}},
		{"a stream of a room that can't be", refused(400, "/v1/rooms/no*room/events")},
		{"a stream of one room too many", refused(400, "/v1/events?"+strings.Repeat("room=r&", 101))},
		{"a stream from no number of events", refused(400, "/v1/rooms/lobby/events?last=0")},
		{"a stream that is not acceptable", func(l *conn, room string) error {
			return l.expect(request("GET", path(room), "Accept: image/png"), http.StatusNotAcceptable)
		}},
	}
}

func socketExchanges() []exchange {
	return []exchange{
		{"a socket that is cut when it stands", func(l *conn, _ string) error { return l.openSocket() }},
		{"a socket that is cut before its answer", func(l *conn, _ string) error { return l.send(upgrade()) }},
		{"a handshake that is refused", func(l *conn, _ string) error {
			return l.expect(upgrade("Sec-WebSocket-Protocol: chat"), http.StatusBadRequest)
		}},
		{"a socket of two rooms", converse(
			`{"op":"subscribe","room":"ROOM"}`, `"live"`,
			`{"op":"subscribe","room":"lobby","since":"earliest"}`, `"live"`)},
		{"a socket that leaves its room", converse(
			`{"op":"subscribe","room":"ROOM"}`, `"subscribed"`,
			`{"op":"unsubscribe","room":"ROOM"}`, `"unsubscribed"`)},
		{"a socket that is cut while it subscribes", converse(`{"op":"subscribe","room":"ROOM","since":"earliest"}`, ``)},
		{"a socket that is cut while the log is asked", converse(`{"op":"subscribe","room":"ROOM","last":5}`, ``)},
		{"a socket that is cut while it leaves", converse(
			`{"op":"subscribe","room":"ROOM"}`, ``,
			`{"op":"unsubscribe","room":"ROOM"}`, ``)},
		{"a socket with a bad cursor", converse(`{"op":"subscribe","room":"lobby","since":"nonsense"}`, `"gap"`)},
		{"a socket that is refused a room", converse(`{"op":"subscribe","room":"no*room"}`, `"room-invalid"`)},
		{"a socket that subscribes twice", converse(
			`{"op":"subscribe","room":"ROOM"}`, ``,
			`{"op":"subscribe","room":"ROOM"}`, `"already-subscribed"`)},
		{"a socket that publishes", converse(`{"op":"publish","room":"ROOM","data":1}`, `"published"`)},
		{"a socket that talks nonsense", converse(`{]`, `"message-invalid"`)},
	}
}

// converse returns an exchange on a socket. lines are pairs: a message to send, in which ROOM
// stands for the exchange's room, and a text to wait for.
func converse(lines ...string) func(*conn, string) error {
	return func(l *conn, room string) error {
		if err := l.openSocket(); err != nil {
			return err
		}
		for i := 0; i < len(lines); i += 2 {
			if err := l.sendText(strings.ReplaceAll(lines[i], "ROOM", room)); err != nil {
				return err
			}
			if want := lines[i+1]; want == "" {
				continue
			} else if err := l.awaitText(want); err != nil {
				return err
			}
		}
		return nil
	}
}

// frameExchanges break the rules for frames. The server closes each of them.
func frameExchanges() []exchange {
	closed := func(text string, want int) func(*conn, string) error {
		return func(l *conn, _ string) error {
			if err := l.openSocket(); err != nil {
				return err
			}
			if err := l.send(text); err != nil {
				return err
			}
			code, err := l.awaitClose()
			if err == nil && code != want {
				err = fmt.Errorf("closed with %d, want %d", code, want)
			}
			return err
		}
	}
	return []exchange{
		{"a frame that is too large", closed(ws.Frame(ws.Text, strings.Repeat("x", 140<<10))[:1<<10], 1009)},
		{"a binary frame", closed(ws.Frame(ws.Binary, "{}"), 1003)},
		{"a frame without a mask", closed("\x81\x02{}", 1002)},
		{"a close frame", closed(ws.Frame(ws.Close, "\x03\xe8"), 1000)},
		{"half a frame", func(l *conn, room string) error {
			if err := l.openSocket(); err != nil {
				return err
			}
			return l.send(ws.Frame(ws.Text, `{"op":"subscribe","room":"`+room+`"}`)[:20])
		}},
	}
}

// expect sends a request and reads the header of its answer.
func (l *conn) expect(text string, status int) error {
	if err := l.send(text); err != nil {
		return err
	}
	res, err := l.answer()
	if err == nil && res.StatusCode != status {
		err = fmt.Errorf("%.60q: %s, want %d", text, res.Status, status)
	}
	return err
}

// An exchangeRunner runs exchanges.
type exchangeRunner struct {
	dial func() (*conn, error)
	made atomic.Int64
}

// exchange runs n exchanges of all kinds, many at once, and passes each failure to wrong.
func (c *exchangeRunner) exchange(n int, wrong func(error)) {
	kinds := allExchanges()
	var running sync.WaitGroup
	for worker := range atOnce {
		running.Go(func() {
			random := rand.New(rand.NewPCG(36, uint64(worker)))
			for i := worker; i < n; i += atOnce {
				v := kinds[random.IntN(len(kinds))]
				if err := c.one(v, fmt.Sprint("room", random.IntN(exchangeRooms)), random.IntN(2) == 0); err != nil {
					wrong(fmt.Errorf("%s: %w", v.name, err))
				}
			}
		})
	}
	running.Wait()
}

// one runs one exchange, which ends with a reset or in order.
func (c *exchangeRunner) one(v exchange, room string, reset bool) error {
	l, err := c.dial()
	if err != nil {
		return err
	}
	defer l.Close()
	defer c.made.Add(1)
	if reset {
		defer l.reset()
	}
	return v.play(l, room)
}

// A hundred thousand connections come and go, valid and invalid, while some stay. Afterwards
// the gauges show exactly the connections and rooms that stayed, and Redis has exactly their
// channels. When those have left too, the gauges are zero.
func TestScenario36GaugesEqualTheRegistry(t *testing.T) {
	redis := &registry{t: t, client: redistest.StartProcess(t).Client()}
	s := serve(t, "--redis", "redis://"+redis.client.Options().Addr)
	c := &caller{to: s.Addr}
	fill(t, s, "lobby", 50)
	var stays []*follower
	for i := range staying {
		for _, over := range transports() {
			stays = append(stays, followRoom(t, followOptions{over: over, room: fmt.Sprint("staying", i), dial: c.dial}))
		}
	}
	atRest := func(h holdings) bool {
		return h.sse == staying && h.sockets == staying && h.subscriptions == 2*staying
	}
	wrong := func(err error) { t.Error(err) }
	exchangeRunner := &exchangeRunner{dial: c.dial}
	exchangeRunner.exchange(exchanges/50, wrong)
	before := redis.without(s.await("only those that stay", atRest))
	stalled := redis.stallNowAndThen()
	exchangeRunner.exchange(exchanges-exchanges/50, wrong)
	stalls := stalled()
	after := s.await(fmt.Sprintf("only those that stay, and no more than %+v", before), func(h holdings) bool {
		now := redis.without(h)
		return atRest(h) && now.descriptors <= before.descriptors && now.goroutines <= before.goroutines
	})
	t.Logf("%d exchanges, %d stalls of Redis; before: %+v, after: %+v", exchangeRunner.made.Load(), stalls, before, redis.without(after))
	if n := redis.channels(); after.rooms != n || n < staying {
		t.Errorf("%d rooms, and %d channels in Redis", after.rooms, n)
	}
	for i := range staying {
		id := publish(t, s, fmt.Sprint("staying", i), "one")
		for _, f := range stays[2*i : 2*i+2] {
			f.exactly([]string{id})
			f.stayed()
			f.Leave()
		}
	}
	s.awaitRest()
	t.Parallel() // the node keeps rooms for half a minute: other tests need not wait
	if h := s.await("no room", func(h holdings) bool { return h.rooms == 0 }); redis.channels() != 0 {
		t.Errorf("%+v, and %d channels in Redis", h, redis.channels())
	}
}

// A registry shows which channels of a node Redis knows.
type registry struct {
	t      *testing.T
	client *redis.Client
}

// channels returns the number of rooms that the node follows. The node follows one more
// channel, which belongs to no room.
func (r *registry) channels() int {
	r.t.Helper()
	names, err := r.client.PubSubShardChannels(context.Background(), "*:c:?*").Result()
	must(r.t, err)
	return len(names)
}

// without returns h without the descriptors of connections to Redis, because the node keeps
// those.
func (r *registry) without(h holdings) holdings {
	r.t.Helper()
	list, err := r.client.ClientList(context.Background()).Result()
	must(r.t, err)
	h.descriptors -= strings.Count(list, "\n")
	return h
}

// stallNowAndThen pauses Redis again and again, so that clients leave while the node waits
// for it. stop ends that and returns the number of pauses.
func (r *registry) stallNowAndThen() (stop func() int) {
	quit, times := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-quit:
				times <- n
				return
			case <-time.After(stallEvery):
			}
			if err := r.client.Do(context.Background(), "CLIENT", "PAUSE", stallFor.Milliseconds(), "ALL").Err(); err != nil {
				r.t.Errorf("stall Redis: %v", err)
			}
		}
	}()
	return func() int { close(quit); return <-times }
}
