package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/internal/cutproxy"
	"github.com/tidemark/tidemark/tests/redistest"
	"github.com/tidemark/tidemark/tests/require"
)

// testLimit bounds a test that hangs. It is long because a client resumes only after some
// seconds, as the server asks.
const testLimit = 90 * time.Second

func TestMain(m *testing.M) {
	code := redistest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// A client is one way to follow an event stream.
type client struct {
	name string

	// follow follows url until ctx ends and passes on every event. An error means that the
	// client gave up, which it must not.
	follow func(ctx context.Context, t *testing.T, url string, hear func(heard)) error

	// halves says that the client passes on half an event when the connection breaks inside
	// it: see TestR3labsPassesHalfEvents.
	halves bool

	// need, if set, skips the test if the client cannot run on this machine.
	need func(t testing.TB)
}

func needNPM(t testing.TB)  { require.Packages(t, "npm") }
func needCurl(t testing.TB) { require.Program(t, "curl") }

// available returns the clients that can run here. For each other one it runs a subtest
// that require skips, or fails.
func available(t *testing.T) (clients []client) {
	t.Helper()
	for _, c := range all {
		can := c.need == nil
		if !can {
			t.Run("needs of "+c.name, func(t *testing.T) {
				c.need(t)
				can = true
			})
		}
		if can {
			clients = append(clients, c)
		}
	}
	return clients
}

// A heard is an event as the client passed it on.
type heard struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Data string `json:"data"`
}

func (h heard) String() string { return h.ID + " " + h.Type + " " + h.Data }

var all = []client{
	{name: "r3labs/sse", follow: followR3labs, halves: true},
	{name: "tmaxmax/go-sse", follow: followTmaxmax},
	{name: "npm eventsource", follow: followNPM("eventsource.mjs"), need: needNPM},
	{name: "npm fetch-event-source", follow: followNPM("fetch-event-source.mjs"), need: needNPM},
	{name: "curl", follow: followCurl, need: needCurl},
}

// Scenario 40: real clients. The browser's own EventSource is tested in tests/browser.
func TestScenario40RealClients(t *testing.T) {
	clients := available(t)
	for log, open := range logs {
		t.Run(log, func(t *testing.T) {
			t.Parallel()
			s := serve(t, open(t))
			var followers []*follower
			for _, c := range clients {
				followers = append(followers, follow(t, c, s))
			}
			want := drive(t, s, followers)
			for _, f := range followers {
				t.Run(f.client.name, func(t *testing.T) { f.check(t, want) })
			}
		})
	}
}

// drive publishes while it breaks the connections of all followers: once while they are
// idle, with events published before they can resume, and once inside an event, while
// publishing continues. It returns the events that each must have received.
func drive(t *testing.T, s server, followers []*follower) (want []heard) {
	publish := func(n int) {
		for range n {
			want = append(want, s.publish(t, len(want)+1))
		}
	}
	caughtUp := func() {
		for _, f := range followers {
			f.await(t, want[len(want)-1].ID)
		}
	}

	publish(20)
	caughtUp()

	for _, f := range followers {
		f.proxy.Refuse(true)
		if f.proxy.Cut() != 1 {
			t.Errorf("%s: had no connection to cut", f.client.name)
		}
	}
	publish(20)
	for _, f := range followers {
		f.proxy.Refuse(false)
	}
	caughtUp()

	var cutDone []<-chan struct{}
	for _, f := range followers {
		if f.client.halves {
			continue
		}
		cutDone = append(cutDone, f.proxy.CutAfter(middle(60)))
	}
	publish(60)
	for _, s := range cutDone {
		<-s
	}
	caughtUp()

	publish(5)
	caughtUp()
	return want
}

// A follower is one running client behind its own proxy.
type follower struct {
	client client
	front  *front
	proxy  *cutproxy.Proxy

	ended chan struct{} // closed when follow returns
	err   error         // its result

	mu    sync.Mutex // guards the fields below
	heard []heard
	more  chan struct{} // closed and replaced with each event
}

// follow starts the client on the test's room. It ends with the test.
func follow(t *testing.T, c client, s server) *follower {
	t.Helper()
	f := &follower{client: c, front: s.front(t), ended: make(chan struct{}), more: make(chan struct{})}
	f.proxy = cutproxy.Listen(t, f.front.addr())
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	go func() {
		defer close(f.ended)
		f.err = c.follow(ctx, t, f.proxy.URL()+roomPath+"?since=earliest", f.hear)
		if ctx.Err() != nil {
			f.err = nil
		} else if f.err == nil {
			f.err = errors.New("returned without an error")
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-f.ended
	})
	return f
}

func (f *follower) hear(h heard) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = append(f.heard, h)
	close(f.more)
	f.more = make(chan struct{})
}

// events returns the room's events and Tidemark's own events so far.
func (f *follower) events() (events, own []heard, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.heard {
		if isOwn(h.Type) {
			own = append(own, h)
		} else {
			events = append(events, h)
		}
	}
	return events, own, f.more
}

// await returns when the client has received the event with this id.
func (f *follower) await(t *testing.T, id string) {
	t.Helper()
	timeout := time.After(testLimit)
	for {
		events, _, more := f.events()
		if slices.ContainsFunc(events, func(h heard) bool { return h.ID == id }) {
			return
		}
		select {
		case <-more:
		case <-f.ended:
			t.Fatalf("%s gave up after %d events: %v", f.client.name, len(events), f.err)
		case <-timeout:
			t.Fatalf("%s: %s did not come; %d events did", f.client.name, id, len(events))
		}
	}
}

// check compares the received with the published events, and checks that the client itself
// sent its cursor.
func (f *follower) check(t *testing.T, want []heard) {
	got, own, _ := f.events()
	if d := logtest.Compare(want, got); !d.OK() {
		t.Error(d)
	}
	opened, gaps := 0, 0
	for _, h := range own {
		switch h.Type {
		case "tidemark.open":
			opened++
		case "tidemark.gap":
			gaps++
		}
	}
	if gaps > 0 {
		t.Errorf("%d gap notices, and nothing was missing", gaps)
	}
	cuts := 2
	if f.client.halves {
		cuts = 1
	}
	lastIDs := f.front.lastEventIDs()
	if len(lastIDs) != cuts+1 || opened != cuts+1 {
		t.Errorf("%d requests and %d tidemark.open, want %d", len(lastIDs), opened, cuts+1)
	}
	for i, id := range lastIDs {
		if (id == "") != (i == 0) {
			t.Errorf("request %d had Last-Event-ID %q", i+1, id)
		}
	}
	t.Logf("received %d, in %d connections", len(got), opened)
}

// r3labs/sse takes half a block for a whole one. It still loses nothing, because the id
// comes last in each block: the application gets the half, which is not valid JSON, under
// the id of the previous event, and then the event.
func TestR3labsPassesHalfEvents(t *testing.T) {
	t.Parallel()
	s := serve(t, logs["embedded"](t))
	f := follow(t, client{name: "r3labs/sse", follow: followR3labs}, s)
	want := []heard{s.publish(t, 1)}
	f.await(t, want[0].ID)
	cutDone := f.proxy.CutAfter(middle(2))
	for n := range 5 {
		want = append(want, s.publish(t, 2+n))
	}
	<-cutDone
	f.await(t, want[5].ID)

	got, _, _ := f.events()
	whole := slices.DeleteFunc(slices.Clone(got), func(h heard) bool { return !json.Valid([]byte(h.Data)) })
	if d := logtest.Compare(want, whole); !d.OK() {
		t.Error(d)
	}
	if len(got) != len(whole)+1 {
		t.Errorf("%d halves, want the one that is known of: %v", len(got)-len(whole), got)
	}
}

// A draining node ends its streams, and the clients resume on another node.
func TestClientsFollowDrain(t *testing.T) {
	t.Parallel()
	log := logs["embedded"](t)
	first := serve(t, log)
	second := serve(t, log)
	var followers []*follower
	for _, c := range available(t) {
		followers = append(followers, follow(t, c, first))
	}
	want := []heard{first.publish(t, 1)}
	var left []*front
	for _, f := range followers {
		f.await(t, want[0].ID)
		left = append(left, f.front)
		f.front = second.front(t)
		f.proxy.Retarget(f.front.addr())
	}
	first.Drain(t)
	for _, f := range left {
		f.server.Close()
	}
	for n := range 5 {
		want = append(want, second.publish(t, 2+n))
	}
	for _, f := range followers {
		t.Run(f.client.name, func(t *testing.T) {
			f.await(t, want[5].ID)
			got, _, _ := f.events()
			if d := logtest.Compare(want, got); !d.OK() {
				t.Error(d)
			}
			if ids := f.front.lastEventIDs(); len(ids) != 1 || ids[0] == "" {
				t.Errorf("came back with Last-Event-ID %q", ids)
			}
		})
	}
}
