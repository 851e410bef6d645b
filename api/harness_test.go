package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
)

// testTimeout bounds every wait of a test. No test depends on its length; reaching it means
// that an expected event did not happen.
const testTimeout = 30 * time.Second

// A harness is a whole node behind a listener.
type harness struct {
	t         *testing.T
	log       *faultyLog
	node      *service.Node
	api       *api.Server
	url       string
	client    *http.Client
	transport *http.Transport // beneath client
	major     int             // version of HTTP
	registry  *prometheus.Registry
}

// setup tunes a harness.
type setup struct {
	node service.Options
	api  api.Options
	http httpKind
}

// start runs a node on an embedded log until the test ends.
func start(t *testing.T, tune ...func(*setup)) *harness {
	t.Helper()
	registry := prometheus.NewRegistry()
	s := &setup{
		node: service.Options{Name: "n1", Metrics: registry},
		api: api.Options{
			DrainSpread: time.Millisecond,
			Registerer:  registry,
			Gatherer:    registry,
			Console:     http.HandlerFunc(consolePage),
		},
	}
	for _, f := range tune {
		f(s)
	}
	log, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, log: &faultyLog{Log: log}, registry: registry}
	h.node = service.New(h.log, &s.node)
	h.api = api.New(h.node, &s.api)
	server, transport := s.http.serve(h.api)
	h.url = server.URL
	h.client = &http.Client{Transport: contract(t, transport)}
	h.transport, h.major = transport, s.http.major()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = h.api.Shutdown(ctx) // closes connections that a test has left stalled
		server.Close()
		h.node.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func consolePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<title>console</title>")
}

// An answer is a response with its whole body.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem returns the problem document that the answer must be.
func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("Content-Type %q, want a problem document; body %q", got, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("problem %q: %v", a.body, err)
	}
	if p.Status != a.status {
		t.Errorf("the document has status %d, the response %d", p.Status, a.status)
	}
	return p
}

type problem struct {
	Type, Title, Detail, Code, ID string
	Status                        int
}

// request sends a request and reads the answer. Headers are name, value pairs.
func (h *harness) request(method, path, body string, header ...string) answer {
	h.t.Helper()
	a, err := h.try(method, path, body, header...)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *harness) try(method, path, body string, header ...string) (answer, error) {
	r, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := h.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// publish stores one event and returns its id.
func (h *harness) publish(room, data string) string {
	h.t.Helper()
	a := h.request("POST", "/v1/rooms/"+room+"/events", `{"data":`+data+`}`)
	if a.status != http.StatusCreated {
		h.t.Fatalf("publish: %d %s", a.status, a.body)
	}
	return a.id(h.t)
}

// publishMany stores events with the data 1 to n and returns their ids.
func (h *harness) publishMany(room string, n int) []string {
	h.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = h.publish(room, fmt.Sprint(i+1))
	}
	return ids
}

// fill publishes n events of size bytes directly on the node, which is faster. The data of
// each begins with its number, from 0.
func (h *harness) fill(room string, n, size int) {
	h.t.Helper()
	filler := strings.Repeat("x", size)
	drafts := make([]streams.Draft, n)
	for i := range drafts {
		drafts[i] = streams.Draft{Room: streams.Room(room), Type: "message", Data: fmt.Appendf(nil, `"%d %s"`, i, filler)}
	}
	for _, r := range h.node.Publish(context.Background(), drafts) {
		if r.Err != nil {
			h.t.Fatal(r.Err)
		}
	}
}

// id returns the id in the answer to a publish.
func (a answer) id(t *testing.T) string {
	t.Helper()
	var p struct{ ID string }
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || len(p.ID) != streams.IDLen {
		t.Fatalf("no id in %q", a.body)
	}
	return p.ID
}

// newest returns the last id of the log, which changes with every stored event.
func (h *harness) newest() streams.ID {
	h.t.Helper()
	marks, err := h.log.Log.Watermarks(context.Background(), 0, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return marks.Last
}

// An sse is a client of an SSE stream.
type sse struct {
	t      *testing.T
	header http.Header
	body   io.Closer
	reader *bufio.Reader
}

// follow opens a stream. Headers are name, value pairs.
func (h *harness) follow(path string, header ...string) *sse {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	alarm := time.AfterFunc(testTimeout, cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := h.client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { alarm.Stop(); cancel(); resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		body, _ := io.ReadAll(resp.Body)
		h.t.Fatalf("follow %s: %d %s %s", path, resp.StatusCode, got, body)
	}
	if resp.ProtoMajor != h.major {
		h.t.Fatalf("follow %s: answered over %s", path, resp.Proto)
	}
	return &sse{t: h.t, header: resp.Header, body: resp.Body, reader: bufio.NewReader(resp.Body)}
}

// block returns the next block without its last, empty line, or "" at the end.
func (s *sse) block() string {
	s.t.Helper()
	var b strings.Builder
	for {
		line, err := s.reader.ReadString('\n')
		if b.Len() == 0 && line == "" && brokenOff(err) {
			return "" // the stream was reset: some clients take an orderly end as final
		}
		if err != nil {
			s.t.Fatalf("the stream ended within a block: %q %v", b.String()+line, err)
		}
		if line == "\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

// expect reads the next block, which must be want.
func (s *sse) expect(want string) {
	s.t.Helper()
	if got := s.block(); got != want {
		s.t.Fatalf("block:\n%s\nwant:\n%s", got, want)
	}
}

// opened reads the first block and returns its id.
func (s *sse) opened() string {
	s.t.Helper()
	b := s.block()
	if !strings.HasPrefix(b, "retry: ") || field(b, "event") != "tidemark.open" {
		s.t.Fatalf("first block:\n%s", b)
	}
	return field(b, "id")
}

// events reads blocks until the replay ends. It returns the data of the events in order, with
// the reasons of gap notices in brackets in their places.
func (s *sse) events() []string {
	s.t.Helper()
	var got []string
	for {
		switch b := s.block(); field(b, "event") {
		case "tidemark.live":
			return got
		case "tidemark.gap":
			var gap struct{ Reason string }
			if err := json.Unmarshal([]byte(field(b, "data")), &gap); err != nil {
				s.t.Fatal(err)
			}
			got = append(got, "["+gap.Reason+"]")
		case "tidemark.error":
			s.t.Fatalf("error in the replay: %s", b)
		default:
			got = append(got, field(b, "data"))
		}
	}
}

// field returns the value of a block's first line of that name.
func field(block, name string) string {
	for line := range strings.Lines(block) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSuffix(v, "\n")
		}
	}
	return ""
}

// A wsClient is a client of a WebSocket.
type wsClient struct {
	*websocket.Conn
	t *testing.T
}

// dial opens a WebSocket.
func (h *harness) dial(protocols ...string) *wsClient {
	h.t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: testTimeout}
	if c := h.transport.TLSClientConfig; c != nil {
		d.TLSClientConfig = &tls.Config{RootCAs: c.RootCAs}
	}
	c, resp, err := d.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/v1/ws", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	resp.Body.Close()
	h.t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	return &wsClient{c, h.t}
}

func (c *wsClient) send(message string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
}

// frame returns the next frame that is not a position.
func (c *wsClient) frame() string {
	c.t.Helper()
	for {
		kind, text, err := c.ReadMessage()
		if err != nil {
			c.t.Fatal(err)
		}
		if kind != websocket.TextMessage {
			c.t.Fatalf("a frame of type %d: %q", kind, text)
		}
		if !bytes.HasPrefix(text, []byte(`{"op":"position"`)) {
			return string(text)
		}
	}
}

// expect reads the next frame, which must be want.
func (c *wsClient) expect(want string) {
	c.t.Helper()
	if got := c.frame(); got != want {
		c.t.Fatalf("frame:\n%s\nwant:\n%s", got, want)
	}
}

// closeCode reads until the server has closed the connection and returns the close code.
func (c *wsClient) closeCode() int {
	c.t.Helper()
	for {
		_, _, err := c.ReadMessage()
		if err == nil {
			continue
		}
		if e, ok := err.(*websocket.CloseError); ok {
			return e.Code
		}
		c.t.Fatalf("ended without a close frame: %v", err)
	}
}

// A faultyLog is a log whose calls can be made to fail.
type faultyLog struct {
	streams.Log

	// Each makes a part of the interface fail like a log that cannot be reached.
	writesDown, readsDown, watermarksDown atomic.Bool

	appendDelay atomic.Int64 // nanoseconds by which each append is delayed
	reads       atomic.Int64 // calls of After
	panics      atomic.Bool  // After does

	// hold, if set, makes each read wait until it is closed.
	hold atomic.Pointer[chan struct{}]

	// unsafe stores drafts and reports that they did not reach their durability.
	unsafe atomic.Bool

	// onRead, if set, is called by each read with its context.
	onRead atomic.Pointer[func(context.Context)]

	// onAppend is onRead for appends.
	onAppend atomic.Pointer[func(context.Context)]

	// holdAppends, if set, makes each append wait until it is closed or its context ends.
	holdAppends atomic.Pointer[chan struct{}]

	// rooms, if set, has the rooms that exist. Appends to others create them, and are refused
	// if the draft must not.
	rooms atomic.Pointer[sync.Map]

	// appendErr, if set, is the error of every draft; nothing is stored.
	appendErr atomic.Pointer[error]
}

// errSecret has a text that clients must not see.
var errSecret = fmt.Errorf("%w: dial tcp 10.9.8.7:6379: secret", streams.ErrUnavailable)

func (l *faultyLog) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	time.Sleep(time.Duration(l.appendDelay.Load()))
	if f := l.onAppend.Load(); f != nil {
		(*f)(ctx)
	}
	fault := l.appendErr.Load()
	if hold := l.holdAppends.Load(); hold != nil {
		select {
		case <-*hold:
		case <-ctx.Done():
			err := fmt.Errorf("%w: %w", streams.ErrUnavailable, ctx.Err())
			fault = &err
		}
	}
	if rooms := l.rooms.Load(); rooms != nil && fault == nil {
		return l.appendToRooms(ctx, rooms, drafts)
	}
	if l.writesDown.Load() {
		err := error(errSecret)
		fault = &err
	}
	if fault == nil {
		receipts := l.Log.Append(ctx, drafts)
		for i := range receipts {
			if l.unsafe.Load() && receipts[i].Err == nil {
				receipts[i].Err = fmt.Errorf("%w: secret", streams.ErrNotDurable)
			}
		}
		return receipts
	}
	receipts := make([]streams.Receipt, len(drafts))
	for i := range receipts {
		receipts[i].Err = *fault
	}
	return receipts
}

// appendToRooms appends drafts as a log does that knows the rooms that exist.
func (l *faultyLog) appendToRooms(ctx context.Context, rooms *sync.Map, drafts []streams.Draft) []streams.Receipt {
	receipts := make([]streams.Receipt, len(drafts))
	for i, d := range drafts {
		_, exists := rooms.Load(d.Room)
		if d.ExistingRoom && !exists {
			receipts[i].Err = fmt.Errorf("%w: secret", streams.ErrNewRoom)
			continue
		}
		rooms.Store(d.Room, true)
		receipts[i] = l.Log.Append(ctx, []streams.Draft{d})[0]
		receipts[i].NewRoom = !exists
	}
	return receipts
}

func (l *faultyLog) Watermarks(ctx context.Context, p streams.Partition, rooms []streams.Room) (streams.Watermarks, error) {
	if l.watermarksDown.Load() {
		return streams.Watermarks{}, errSecret
	}
	return l.Log.Watermarks(ctx, p, rooms)
}

func (l *faultyLog) After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	l.reads.Add(1)
	if l.panics.Load() {
		panic("on purpose")
	}
	if f := l.onRead.Load(); f != nil {
		(*f)(ctx)
	}
	if hold := l.hold.Load(); hold != nil {
		<-*hold
	}
	if l.readsDown.Load() {
		return streams.Page{}, errSecret
	}
	return l.Log.After(ctx, room, after, through, limit)
}

func (l *faultyLog) Ping(ctx context.Context) error {
	if l.writesDown.Load() {
		return errSecret
	}
	return l.Log.Ping(ctx)
}
