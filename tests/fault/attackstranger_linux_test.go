package fault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/tests/internal/wait"
)

const (
	// strangerRate is the number of publishes a second of all strangers together.
	strangerRate = 50
	// strangerSize is the size in bytes of an event of a stranger: that of most real ones.
	strangerSize = 200
	// strangerRooms is the number of rooms that strangers publish to.
	strangerRooms = 2
	// arrivalsEvery is the interval at which each returning stranger connects.
	arrivalsEvery = 200 * time.Millisecond
	// livezEvery is the interval between two requests of /livez.
	livezEvery = 200 * time.Millisecond
	// strangerLimit bounds each request of a stranger.
	strangerLimit = 30 * time.Second
	// strangerAtOnce bounds the requests of strangers in progress. More wait, and their
	// waits count.
	strangerAtOnce = 200
)

// Addresses of the strangers. Attackers use 127.0.1.x.
var (
	publisherAddr = net.IPv4(127, 0, 0, 2)
	followerAddr  = net.IPv4(127, 0, 0, 3)
	proberAddr    = net.IPv4(127, 0, 0, 4)
)

// latencies are measured in one phase.
type latencies []time.Duration

func (l latencies) quantile(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (l latencies) p99() time.Duration { return l.quantile(0.99) }
func (l latencies) max() time.Duration { return l.quantile(1) }

func (l latencies) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d, p50 %v, p99 %v, max %v", len(l), round(l.quantile(0.5)), round(l.p99()), round(l.max()))
}

// A quality is the service that strangers received in one phase.
type quality struct{ publish, connect, livez latencies }

func (q quality) String() string {
	return fmt.Sprintf("publish (%v), connect (%v), livez (%v)", q.publish, q.connect, q.livez)
}

// strangers are harmless clients: they publish and follow steadily, some of them on standing
// connections. They check that they receive every event once and in order.
type strangers struct {
	v         *victim
	token     string
	publisher *http.Client
	prober    *http.Client
	standing  []*follower
	returning []*follower
	reading   sync.WaitGroup // goroutines of the standing followers
	quit      context.CancelFunc

	mu        sync.Mutex          // guards the fields below
	published map[string][]string // ids by room
	now       quality             // of the present phase
	faults    faultList
}

// A faultList counts the different faults that strangers met.
type faultList map[string]int

func newStrangers(v *victim) *strangers {
	v.t.Helper()
	s := &strangers{
		v: v, token: v.token("stranger", "--subscribe=*", "--publish=*"), published: make(map[string][]string),
		publisher: clientAt(v.dialer(publisherAddr), false), prober: clientAt(v.dialer(proberAddr), true), faults: make(faultList),
	}
	var rooms []string
	for i := range strangerRooms {
		rooms = append(rooms, fmt.Sprintf("stranger-%d", i))
		s.publishOne(v.t.Context(), rooms[i], time.Now()) // creates the room
	}
	s.standing = []*follower{
		newFollower(s, overSSE, rooms...), newFollower(s, overSSE, rooms[0]), newFollower(s, overWebSocket, rooms[1]),
	}
	s.returning = []*follower{
		newFollower(s, overSSE, rooms[0]), newFollower(s, overWebSocket, rooms[1]), newFollower(s, overSSE, rooms...),
	}
	s.returning[2].fresh = true
	ctx, quit := context.WithCancel(context.Background())
	s.quit = quit
	for _, f := range append(s.standing, s.returning...) {
		f.follow(ctx, true) // each has a position
	}
	for _, f := range s.standing {
		s.reading.Go(func() { f.stay(ctx) })
	}
	return s
}

// clientAt returns an HTTP client with the connections of a dialer.
func clientAt(dial dialer, fresh bool) *http.Client {
	return &http.Client{Timeout: strangerLimit, Transport: &http.Transport{
		DialContext: dial, DisableKeepAlives: fresh, MaxIdleConnsPerHost: strangerAtOnce,
	}}
}

// measure lets the strangers work for a time, and returns the latencies of their requests. A request that
// starts in this time counts when it ends.
func (s *strangers) measure(ctx context.Context, lasts time.Duration) quality {
	s.mu.Lock()
	s.now = quality{}
	s.mu.Unlock()
	ctx, stop := context.WithTimeout(ctx, lasts)
	defer stop()
	var working sync.WaitGroup
	working.Go(func() {
		var n atomic.Int64 // calls overlap
		each(ctx, time.Second/strangerRate, func(due time.Time) {
			s.publishOne(s.v.t.Context(), fmt.Sprintf("stranger-%d", n.Add(1)%strangerRooms), due)
		})
	})
	working.Go(func() { each(ctx, livezEvery, func(due time.Time) { s.probe(due) }) })
	for _, f := range s.returning {
		working.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				f.follow(s.v.t.Context(), true)
				s.note(&s.now.connect, time.Since(began))
				pause(ctx, arrivalsEvery-time.Since(began))
			}
		})
	}
	working.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// each calls do at an interval, in goroutines of their own, until ctx ends. A slow call
// delays no other one. It returns when all have returned.
func each(ctx context.Context, every time.Duration, do func(due time.Time)) {
	var calls sync.WaitGroup
	defer calls.Wait()
	places := make(chan struct{}, strangerAtOnce)
	for due := time.Now(); ctx.Err() == nil; due = due.Add(every) {
		pause(ctx, time.Until(due))
		places <- struct{}{}
		calls.Go(func() {
			do(due)
			<-places
		})
	}
}

// pause waits for a time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *strangers) publishOne(ctx context.Context, room string, due time.Time) {
	body, _ := json.Marshal(map[string]any{"data": string(bytes.Repeat([]byte("s"), strangerSize))})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.v.server.URL()+"/v1/rooms/"+room+"/events", bytes.NewReader(body))
	if err != nil {
		s.fault("publish: %v", err)
		return
	}
	var receipt struct{ ID string }
	err = s.ask(s.publisher, req, http.StatusCreated, &receipt)
	s.note(&s.now.publish, time.Since(due))
	if err != nil {
		s.fault("publish: %v", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published[room] = append(s.published[room], receipt.ID)
}

func (s *strangers) probe(due time.Time) {
	req, err := http.NewRequest(http.MethodGet, s.v.server.URL()+"/livez", nil)
	if err == nil {
		err = s.ask(s.prober, req, http.StatusOK, nil)
	}
	s.note(&s.now.livez, time.Since(due))
	if err != nil {
		s.fault("/livez: %v", err)
	}
}

// ask sends a request and decodes its answer.
func (s *strangers) ask(c *http.Client, req *http.Request, want int, into any) error {
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(body, into)
	}
	return err
}

func (s *strangers) note(list *latencies, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, took)
}

func (s *strangers) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := fmt.Sprintf(format, args...); len(s.faults) < 10 || s.faults[text] > 0 {
		s.faults[text]++
	}
}

// conclude waits until each follower has every published event, and returns the faults of
// the strangers' service.
func (s *strangers) conclude() []string {
	ctx, stop := context.WithTimeout(s.v.t.Context(), wait.Limit)
	defer stop()
	for _, f := range s.returning {
		f.follow(ctx, true)
	}
	for _, f := range s.standing {
		for ctx.Err() == nil && !f.complete() {
			pause(ctx, 10*time.Millisecond)
		}
	}
	s.leave()
	var all []string
	for _, f := range append(s.standing, s.returning...) {
		all = append(all, f.check()...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range slices.Sorted(maps.Keys(s.faults)) {
		all = append(all, fmt.Sprintf("%d times: %s", s.faults[text], text))
	}
	return all
}

// leave ends all connections of the strangers. Leaving again does nothing.
func (s *strangers) leave() {
	s.quit()
	s.reading.Wait()
	s.publisher.CloseIdleConnections()
}

// delivered returns the number of events that strangers received.
func (s *strangers) delivered() (n int) {
	for _, f := range append(s.standing, s.returning...) {
		n += f.count()
	}
	return n
}

// idsOf returns the ids of the events published to rooms, in order.
func (s *strangers) idsOf(rooms []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range rooms {
		all = append(all, s.published[r]...)
	}
	slices.Sort(all)
	return all
}
