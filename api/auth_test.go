package api_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api"
)

// authSecret signs the tokens of tests.
var authSecret = []byte("a secret of thirty-two bytes, or more")

// withAuth makes a node require a token or one of keys.
func withAuth(t *testing.T, keys ...access.Key) func(*setup) {
	t.Helper()
	v, err := access.Open(access.Options{Secrets: [][]byte{authSecret}, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return func(s *setup) { s.api.Access = v }
}

// token returns a token of the user ann that is valid for life.
func token(t *testing.T, life time.Duration, s access.Scopes) string {
	t.Helper()
	return tokenBy(t, authSecret, "ann", life, s)
}

func tokenBy(t *testing.T, secret []byte, user string, life time.Duration, s access.Scopes) string {
	t.Helper()
	text, err := access.Mint(secret, access.TokenSpec{Subject: user, Life: life, Scopes: s})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// all allows every action on the room.
func all(room string) access.Scopes {
	return access.Scopes{Subscribe: []string{room}, Publish: []string{room}, Presence: []string{room}, Admin: true}
}

// A need is the permission that a route requires, besides a valid credential.
type need int

const (
	nothing need = iota // not even a credential
	aRoom
	admin
)

// A routeCase is a request to a route, about the room "den" if the route has one.
type routeCase struct {
	need       need
	path, body string
	accept     string
	room       string // that the credential must allow; "" for den
}

// routeCases returns the requests for each route. A route without one fails the test: add
// its need, so that the test checks that callers without it are refused.
func routeCases() map[string][]routeCase {
	return map[string][]routeCase{
		"POST /v1/rooms/:room/events": {{need: aRoom, path: "/v1/rooms/den/events", body: `{"data":1}`}},
		"POST /v1/users/:user/events": {{need: aRoom, path: "/v1/users/bob/events", body: `{"data":1}`, room: "@bob"}},
		"POST /v1/broadcast":          {{need: aRoom, path: "/v1/broadcast", body: `{"data":1}`, room: "$all"}},
		"POST /v1/events": {
			{need: aRoom, path: "/v1/events", body: `{"events":[{"room":"den","data":1}]}`},
			{need: aRoom, path: "/v1/events", body: `{"events":[{"rooms":["den"],"data":1}]}`},
			{need: aRoom, path: "/v1/events", body: `{"events":[{"user":"bob","data":1}]}`, room: "@bob"},
		},
		"GET /v1/rooms/:room/events": {
			{need: aRoom, path: "/v1/rooms/den/events"},
			{need: aRoom, path: "/v1/rooms/den/events?order=desc&limit=1", accept: "application/json"},
			{need: aRoom, path: "/v1/rooms/@bob/events", room: "@bob"},
			{need: aRoom, path: "/v1/rooms/den/events", accept: "text/event-stream"},
			{need: aRoom, path: "/v1/rooms/den/events?since=earliest", accept: "text/event-stream"},
			{need: aRoom, path: "/v1/rooms/den/events?last_event_id=earliest", accept: "text/event-stream"},
			{need: aRoom, path: "/v1/rooms/den/events?last=5", accept: "text/event-stream"},
		},
		"GET /v1/events": {
			{need: aRoom, path: "/v1/events?room=den", accept: "text/event-stream"},
			{need: aRoom, path: "/v1/events?room=$all&room=den&since=earliest", accept: "text/event-stream"},
			{need: aRoom, path: "/v1/events?room=@bob", accept: "text/event-stream", room: "@bob"},
		},
		"GET /v1/ws":     {{need: aRoom, path: "/v1/ws"}},
		"GET /metrics":   {{need: admin, path: "/metrics"}},
		"GET /livez":     {{path: "/livez"}, {need: admin, path: "/livez?verbose"}},
		"HEAD /livez":    {{path: "/livez"}},
		"GET /readyz":    {{path: "/readyz"}, {need: admin, path: "/readyz?verbose"}},
		"HEAD /readyz":   {{path: "/readyz"}},
		"GET /":          {{path: "/"}},
		"GET /console/*": {{path: "/console/x"}},
	}
}

// A caller is a credential with or without the permission of a routeCase.
type caller struct {
	name       string
	credential func(room string) string
	known      bool
	may        bool

	mayElsewhere bool // in other rooms, if not in this one
}

func callers(t *testing.T) []caller {
	is := func(text string) func(string) string { return func(string) string { return text } }
	stranger, _ := access.NewKey()
	return []caller{
		{"anonymous", is(""), false, false, false},
		{"nonsense", is("x.y.z"), false, false, false},
		{"signed by another", func(room string) string {
			return tokenBy(t, bytes.Repeat([]byte("x"), 40), "ann", time.Hour, all(room))
		}, false, false, false},
		{"signed by nobody", func(room string) string {
			_, claims, _ := strings.Cut(token(t, time.Hour, all(room)), ".")
			claims, _, _ = strings.Cut(claims, ".")
			return "eyJhbGciOiJub25lIn0." + claims + "."
		}, false, false, false},
		{"an unknown key", is(stranger), false, false, false},
		{"expired", func(room string) string { return token(t, -time.Minute, all(room)) }, false, false, false},
		{"another room", is(token(t, time.Hour, access.Scopes{
			Subscribe: []string{"den2", "xden", "@ann"}, Publish: []string{"den2", "@ann", "de"}, Presence: []string{"*"},
		})), true, false, true},
		{"no claim", is(token(t, time.Hour, access.Scopes{})), true, false, false},
		{"right", func(room string) string { return token(t, time.Hour, all(room)) }, true, true, false},
		{"right by a pattern", is(token(t, time.Hour, all("*"))), true, true, false},
	}
}

// Every route refuses callers without permission, changes nothing then, and serves callers
// with it. No log line contains a credential.
func TestEveryRouteChecksPermission(t *testing.T) {
	var logged lockedBuffer
	h := start(t, withAuth(t), func(s *setup) {
		s.api.Cookie = "session"
		s.api.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		s.node.Logger = s.api.Logger
	})
	known := routeCases()
	var credentials []string
	for _, route := range api.Routes(h.api) {
		if len(known[route]) == 0 {
			t.Errorf("%s: add its need to routeCases", route)
		}
		method, _, _ := strings.Cut(route, " ")
		for _, r := range known[route] {
			for _, c := range callers(t) {
				credential := c.credential(or(r.room, "den"))
				credentials = append(credentials, credential)
				for _, way := range []string{"header", "query", "cookie"} {
					t.Run(strings.Join([]string{route, r.path, r.accept, c.name, way}, " "), func(t *testing.T) {
						if r.path == "/v1/ws" {
							h.checkSocket(t, c, credential, way)
						} else {
							h.checkRoute(t, method, r, c, credential, way)
						}
					})
				}
			}
		}
	}
	for _, c := range credentials {
		if parts := strings.Split(c, "."); c != "" && strings.Contains(logged.String(), parts[len(parts)-1]) && len(parts[len(parts)-1]) > 5 {
			t.Errorf("the log contains a credential: %s", logged.String())
		}
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// A lockedBuffer collects the logs of several goroutines.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// carry puts a credential into the request in the given way, and returns the path.
func carry(way, path, credential string, header http.Header) string {
	switch {
	case credential == "":
	case way == "header":
		header.Set("Authorization", "Bearer "+credential)
	case way == "cookie":
		header.Set("Cookie", "other=1; session="+credential)
	case way == "query" && strings.Contains(path, "?"):
		path += "&access_token=" + url.QueryEscape(credential)
	case way == "query":
		path += "?access_token=" + url.QueryEscape(credential)
	}
	return path
}

// ask sends a request and returns the answer, with its body unless it is a stream.
func (h *harness) ask(t *testing.T, method, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	res, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.Header.Get("Content-Type") == "text/event-stream" {
		return res, ""
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return res, text.String()
}

func (h *harness) checkRoute(t *testing.T, method string, r routeCase, c caller, credential, way string) {
	header := http.Header{}
	path := carry(way, r.path, credential, header)
	if r.accept != "" {
		header.Set("Accept", r.accept)
	}
	before := h.newest()
	res, body := h.ask(t, method, path, r.body, header)
	batch := strings.HasPrefix(r.body, `{"events"`)
	switch {
	case r.need == nothing || c.may:
		if res.StatusCode >= 300 || strings.Contains(body, `"error"`) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	case !c.known:
		if res.StatusCode != 401 || !strings.Contains(body, `"code":"unauthorized"`) ||
			!strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer ") ||
			strings.Contains(res.Header.Get("WWW-Authenticate"), "invalid_token") != (credential != "") {
			t.Errorf("%d %s, WWW-Authenticate %q", res.StatusCode, body, res.Header.Get("WWW-Authenticate"))
		}
	case batch && c.mayElsewhere: // each event is refused
		if res.StatusCode != 200 || !strings.Contains(body, `"code":"forbidden"`) || strings.Contains(body, `"id"`) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	default:
		if res.StatusCode != 403 || !strings.Contains(body, `"code":"forbidden"`) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	}
	if !c.may && h.newest() != before {
		t.Error("something was stored")
	}
	if credential != "" && strings.Contains(body, credential) {
		t.Error("the answer repeats the credential")
	}
}

// socketOps are the operations on a WebSocket that concern a room.
func socketOps() []string {
	return []string{
		`{"op":"subscribe","room":"den"}`,
		`{"op":"subscribe","room":"den","since":"earliest"}`,
		`{"op":"subscribe","room":"den","last":3}`,
		`{"op":"publish","room":"den","data":1}`,
	}
}

func (h *harness) checkSocket(t *testing.T, c caller, credential, way string) {
	header := http.Header{}
	path := carry(way, "/v1/ws", credential, header)
	ws, status := h.handshake(t, path, header)
	if !c.known {
		if ws != nil || status != 401 {
			t.Errorf("handshake: %d", status)
		}
		return
	}
	if ws == nil {
		t.Fatalf("handshake: %d", status)
	}
	for _, op := range socketOps() {
		before := h.newest()
		ws.send(op)
		answer := ws.frame()
		for strings.HasPrefix(answer, `{"op":"event"`) || strings.HasPrefix(answer, `{"op":"live"`) {
			answer = ws.frame()
		}
		if refused := strings.HasPrefix(answer, `{"op":"error","code":"forbidden"`); refused == c.may {
			t.Errorf("%s: %s", op, answer)
		}
		if !c.may && h.newest() != before {
			t.Errorf("%s: something was stored", op)
		}
		if c.may && strings.Contains(op, "subscribe") {
			ws.send(`{"op":"unsubscribe","room":"den"}`)
			for !strings.HasPrefix(ws.frame(), `{"op":"unsubscribed"`) {
			}
		}
	}
}

// handshake opens a WebSocket. It returns nil and the status if the server refuses it.
func (h *harness) handshake(t *testing.T, path string, header http.Header, protocols ...string) (*wsClient, int) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: testTimeout}
	c, res, err := d.Dial("ws"+strings.TrimPrefix(h.url, "http")+path, header)
	if res == nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if err != nil {
		return nil, res.StatusCode
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	return &wsClient{c, t}, res.StatusCode
}

// A subprotocol may carry the credential. The server does not choose it.
func TestTokenAsSubprotocol(t *testing.T) {
	h := start(t, withAuth(t))
	good := "tidemark.bearer." + token(t, time.Hour, all("den"))
	ws, status := h.handshake(t, "/v1/ws", nil, "tidemark.v1", good)
	if ws == nil {
		t.Fatal(status)
	}
	if got := ws.Subprotocol(); got != "tidemark.v1" {
		t.Errorf("subprotocol %q", got)
	}
	ws.send(`{"op":"publish","room":"den","data":1}`)
	if got := ws.frame(); !strings.HasPrefix(got, `{"op":"published"`) {
		t.Error(got)
	}
	for _, protocols := range [][]string{{"tidemark.v1", good + "x"}, {"tidemark.v1", "tidemark.bearer."}, {"tidemark.v1"}} {
		if _, status := h.handshake(t, "/v1/ws", nil, protocols...); status != 401 {
			t.Errorf("%d protocols: %d", len(protocols), status)
		}
	}
	if _, status := h.handshake(t, "/v1/ws", nil, good); status != 400 {
		t.Errorf("only the credential: %d", status)
	}
}

// API keys work like tokens.
func TestKeyPublishes(t *testing.T) {
	key, hash := access.NewKey()
	h := start(t, withAuth(t, access.Key{Hash: hash, Scopes: access.Scopes{Publish: []string{"chat:*"}}}))
	for room, want := range map[string]int{"chat:1": 201, "lobby": 403} {
		if a := h.request("POST", "/v1/rooms/"+room+"/events", `{"data":1}`, "Authorization", "bearer "+key); a.status != want {
			t.Errorf("%s: %d %s", room, a.status, a.body)
		}
	}
	if a := h.request("GET", "/v1/rooms/chat:1/events", "", "Authorization", "Bearer "+key); a.status != 403 {
		t.Errorf("history: %d", a.status)
	}
}

// The permission is checked for each event of a batch separately.
func TestBatchInPart(t *testing.T) {
	h := start(t, withAuth(t))
	a := h.request("POST", "/v1/events", `{"events":[{"room":"den","data":1},{"rooms":["hall","den"],"data":2},{"user":"ann","data":3}]}`,
		"Authorization", "Bearer "+token(t, time.Hour, all("den")))
	if a.status != 200 || strings.Count(a.body, `"id"`) != 2 || strings.Count(a.body, `"code":"forbidden"`) != 2 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// The user's own inbox and the broadcast room need no claim, and every stream of several
// rooms includes them.
func TestOwnInbox(t *testing.T) { eachHTTP(t, testOwnInbox) }

func testOwnInbox(t *testing.T, over func(*setup)) {
	h := start(t, over, withAuth(t))
	publisher := token(t, time.Hour, all("*"))
	ann := "Bearer " + token(t, time.Hour, access.Scopes{})
	s := h.follow("/v1/events", "Authorization", ann)
	if b := s.block(); !strings.Contains(b, `"rooms":["@ann","$all"]`) {
		t.Fatal(b)
	}
	for _, path := range []string{"/v1/users/bob/events", "/v1/users/ann/events", "/v1/broadcast"} {
		if a := h.request("POST", path, `{"data":1}`, "Authorization", "Bearer "+publisher); a.status != 201 {
			t.Fatal(a.body)
		}
	}
	if got := s.events(); len(got) != 0 {
		t.Fatalf("a replay: %v", got)
	}
	for _, room := range []string{"@ann", "$all"} {
		if b := s.block(); field(b, "data") != `{"room":"`+room+`","data":1}` {
			t.Errorf("block:\n%s", b)
		}
	}
	for path, want := range map[string]int{"/v1/rooms/@ann/events": 200, "/v1/rooms/$all/events": 200, "/v1/rooms/@bob/events": 403} {
		if a := h.request("GET", path, "", "Authorization", ann); a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// A stream ends with the token that opened it. The token cannot resume it.
func TestStreamEndsWithToken(t *testing.T) { eachHTTP(t, testStreamEndsWithToken) }

func testStreamEndsWithToken(t *testing.T, over func(*setup)) {
	t.Parallel() // it mostly waits
	h := start(t, over, withAuth(t))
	short := "Bearer " + token(t, 2*time.Second, all("den"))
	s := h.follow("/v1/rooms/den/events", "Authorization", short)
	cursor := s.opened()
	if b := s.block(); field(b, "event") != "tidemark.live" {
		t.Fatal(b)
	}
	b := s.block()
	if field(b, "event") != "tidemark.error" || !strings.Contains(b, `"code":"token-expired"`) || field(b, "retry") == "" || field(b, "id") != "" {
		t.Fatalf("block:\n%s", b)
	}
	if b := s.block(); b != "" {
		t.Errorf("after the end:\n%s", b)
	}
	a := h.request("GET", "/v1/rooms/den/events", "", "Authorization", short, "Accept", "text/event-stream", "Last-Event-ID", cursor)
	if p := a.problem(t); a.status != 401 || p.Code != "unauthorized" || !strings.Contains(p.Detail, "expired") {
		t.Errorf("%d %s", a.status, a.body)
	}
	h.awaitNoConnections()
}

// If the token ends while the stream waits for the log, the stream ends when the log answers,
// without any event, and does not wait for the next keep-alive.
func TestStreamEndsWhileLogIsRead(t *testing.T) { eachHTTP(t, testStreamEndsWhileLogIsRead) }

func testStreamEndsWhileLogIsRead(t *testing.T, over func(*setup)) {
	t.Parallel() // it mostly waits
	h := start(t, over, withAuth(t), func(s *setup) { s.api.KeepAlive = time.Hour })
	h.fill("den", 3, 10)
	hold := make(chan struct{})
	h.log.hold.Store(&hold)
	end := time.Now().Add(2 * time.Second)
	s := h.follow("/v1/rooms/den/events?since=earliest", "Authorization", "Bearer "+token(t, 2*time.Second, all("den")))
	s.opened()
	<-time.After(time.Until(end))
	close(hold)
	if b := s.block(); field(b, "event") != "tidemark.error" || !strings.Contains(b, "token-expired") {
		t.Fatalf("block:\n%s", b)
	}
	if b := s.block(); b != "" {
		t.Errorf("after the end:\n%s", b)
	}
}

// awaitNoConnections waits until the metrics show no connection.
func (h *harness) awaitNoConnections() {
	h.t.Helper()
	deadline := time.Now().Add(testTimeout)
	for {
		families, err := h.registry.Gather()
		if err != nil {
			h.t.Fatal(err)
		}
		sum := 0.0
		for _, f := range families {
			if f.GetName() == "tidemark_connections" {
				for _, m := range f.GetMetric() {
					sum += m.GetGauge().GetValue()
				}
			}
		}
		if sum == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%v connections are left", sum)
		}
		time.Sleep(time.Millisecond)
	}
}

// A WebSocket gets a warning, and is closed when its token ends.
func TestWebSocketEndsWithToken(t *testing.T) {
	h := start(t, withAuth(t))
	ws, status := h.handshake(t, "/v1/ws?access_token="+token(t, 2*time.Second, all("den")), nil)
	if ws == nil {
		t.Fatal(status)
	}
	if f := ws.frame(); !strings.HasPrefix(f, `{"op":"error","code":"token-expiring"`) {
		t.Fatal(f)
	}
	if code := ws.closeCode(); code != 4401 {
		t.Errorf("closed with %d", code)
	}
	h.awaitNoConnections()
}

// A new token keeps a WebSocket open, and ends the subscriptions that it does not allow.
func TestWebSocketTakesNewToken(t *testing.T) {
	h := start(t, withAuth(t))
	both := access.Scopes{Subscribe: []string{"den", "hall"}, Publish: []string{"den", "hall"}}
	first := token(t, 3*time.Second, both)
	end := time.Now().Add(3 * time.Second)
	ws, status := h.handshake(t, "/v1/ws?access_token="+first, nil)
	if ws == nil {
		t.Fatal(status)
	}
	await := func(prefix string) string {
		t.Helper()
		for {
			if f := ws.frame(); strings.HasPrefix(f, prefix) {
				return f
			}
		}
	}
	await(`{"op":"error","code":"token-expiring"`)
	for _, room := range []string{"den", "hall"} {
		ws.send(`{"op":"subscribe","room":"` + room + `"}`)
		await(`{"op":"live","room":"` + room)
	}
	// Tokens that are refused change nothing.
	for token, code := range map[string]string{
		"x": "unauthorized",
		tokenBy(t, authSecret, "bob", time.Hour, all("*")): "forbidden",
		token(t, -time.Minute, both):                       "unauthorized",
	} {
		ws.send(`{"op":"auth","token":"` + token + `","ref":1}`)
		if f := ws.frame(); !strings.HasPrefix(f, `{"op":"error","code":"`+code+`"`) || !strings.HasSuffix(f, `,"ref":1}`) {
			t.Fatal(f)
		}
	}
	ws.send(`{"op":"auth","ref":1}`)
	await(`{"op":"error","code":"message-invalid"`)
	ws.send(`{"op":"auth","token":"` + token(t, time.Hour, access.Scopes{Subscribe: []string{"den"}, Publish: []string{"*"}}) + `","ref":2}`)
	ws.expect(`{"op":"authorized","ref":2}`)
	if f := ws.frame(); !strings.HasPrefix(f, `{"op":"error","code":"forbidden"`) || !strings.HasSuffix(f, `,"room":"hall"}`) {
		t.Fatal(f)
	}
	<-time.After(time.Until(end)) // the first token has expired
	ws.send(`{"op":"publish","room":"hall","data":1}`)
	await(`{"op":"published"`)
	ws.send(`{"op":"publish","room":"den","data":2}`)
	var frames []string
	for len(frames) < 2 {
		if f := ws.frame(); strings.HasPrefix(f, `{"op":"event"`) || strings.HasPrefix(f, `{"op":"published"`) {
			frames = append(frames, f)
		}
	}
	if i := slices.IndexFunc(frames, func(f string) bool { return strings.HasPrefix(f, `{"op":"event","room":"den"`) }); i < 0 {
		t.Errorf("%q", frames)
	}
	ws.send(`{"op":"subscribe","room":"hall"}`)
	await(`{"op":"error","code":"forbidden"`)
	ws.send(`{"op":"unsubscribe","room":"hall"}`)
	await(`{"op":"error","code":"not-subscribed"`)
}

// Without authentication, clients that send tokens are served.
func TestTokensWithoutAuthentication(t *testing.T) {
	h := start(t)
	if a := h.request("GET", "/v1/rooms/den/events?access_token=x&limit=1", "", "Authorization", "Bearer y"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	c := h.dial("tidemark.v1", "tidemark.bearer.z")
	c.send(`{"op":"auth","token":"x","ref":1}`)
	c.expect(`{"op":"authorized","ref":1}`)
}

// While the key set cannot be read, a stream gets an error block, after which browsers
// reconnect. All other requests get a 503. The requests cause no error in the log: anyone can
// send them.
func TestKeySetUnavailable(t *testing.T) {
	v, err := access.Open(access.Options{JWKS: "http://127.0.0.1:1/keys"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var logged lockedBuffer
	h := start(t, func(s *setup) {
		s.api.Access = v
		s.api.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	})
	bearer := "Bearer " + token(t, time.Hour, all("*"))
	s := h.follow("/v1/rooms/den/events", "Authorization", bearer)
	if b := s.block(); field(b, "event") != "tidemark.error" || !strings.Contains(b, "auth-unavailable") || field(b, "retry") == "" {
		t.Errorf("block:\n%s", b)
	}
	// A failed publish is never answered with 200, even if it accepts streams.
	a := h.request("POST", "/v1/rooms/den/events", `{"data":1}`, "Authorization", bearer, "Accept", "text/event-stream")
	if p := a.problem(t); a.status != 503 || p.Code != "auth-unavailable" || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "127.0.0.1") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if text := logged.String(); text != "" {
		t.Errorf("logged %s", text)
	}
}

const appPage = "https://app.example.com"

func withOrigins(origins ...string) func(*setup) {
	return func(s *setup) { s.api.Origins = origins }
}

// Only pages of the listed origins may use the server. Vary tells caches that the answer
// depends on the origin.
func TestCrossOrigin(t *testing.T) {
	h := start(t, withAuth(t), withOrigins(appPage))
	bearer := "Bearer " + token(t, time.Hour, all("den"))
	a := h.request("OPTIONS", "/v1/rooms/den/events", "", "Origin", appPage,
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,last-event-id")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != appPage || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	for _, name := range []string{"Authorization", "Last-Event-ID", "Content-Type", "Idempotency-Key", "Traceparent"} {
		if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("preflight does not allow %s", name)
		}
	}
	s := h.follow("/v1/rooms/den/events", "Origin", appPage, "Authorization", bearer)
	if s.header.Get("Access-Control-Allow-Origin") != appPage {
		t.Errorf("stream: %v", s.header)
	}
	for _, name := range []string{"Idempotency-Replayed", "Retry-After", "WWW-Authenticate", "RateLimit", "RateLimit-Policy", "X-Request-Id"} {
		if !slices.Contains(strings.Split(strings.ToLower(s.header.Get("Access-Control-Expose-Headers")), ","), strings.ToLower(name)) {
			t.Errorf("a page cannot read %s: %v", name, s.header)
		}
	}
	if vary := strings.Join(s.header.Values("Vary"), ","); !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept") {
		t.Errorf("Vary: %q", vary)
	}
	refused := h.request("GET", "/v1/rooms/den/events", "", "Origin", appPage)
	if refused.status != 401 || refused.header.Get("Access-Control-Allow-Origin") != appPage {
		t.Errorf("a page cannot read why it was refused: %d %v", refused.status, refused.header)
	}
	for _, origin := range []string{"https://evil.example.com", "https://app.example.com.evil.com", "http://app.example.com", "null", h.url} {
		for _, method := range []string{"OPTIONS", "GET"} {
			a := h.request(method, "/v1/rooms/den/events", "", "Origin", origin, "Authorization", bearer)
			if got := a.header.Get("Access-Control-Allow-Origin"); got != "" || !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
				t.Errorf("%s from %s: %q %v", method, origin, got, a.header)
			}
		}
	}
}

// The same pages and the server's own may open WebSockets.
func TestWebSocketOrigin(t *testing.T) {
	for _, tt := range []struct {
		listed []string
		origin string
		want   int
	}{
		{nil, "", 101}, {nil, "own", 101}, {nil, appPage, 403}, {nil, "null", 403},
		{[]string{appPage}, appPage, 101}, {[]string{appPage}, "own", 101}, {[]string{appPage}, "https://evil.example.com", 403},
		{[]string{"*"}, "https://evil.example.com", 101},
	} {
		h := start(t, withOrigins(tt.listed...))
		header := http.Header{}
		if tt.origin != "" {
			header.Set("Origin", strings.Replace(tt.origin, "own", h.url, 1))
		}
		if _, status := h.handshake(t, "/v1/ws", header); status != tt.want {
			t.Errorf("%v, %q: %d", tt.listed, tt.origin, status)
		}
	}
}

// Without authentication, pages of other origins must not publish: a user may visit any page.
func TestForeignPageCannotPublish(t *testing.T) {
	h := start(t, withOrigins(appPage))
	for origin, want := range map[string]int{"https://evil.example.com": 403, "null": 403, appPage: 201, h.url: 201} {
		if a := h.request("POST", "/v1/rooms/den/events", `{"data":1}`, "Origin", origin); a.status != want {
			t.Errorf("from %s: %d", origin, a.status)
		}
	}
}

// A cookie counts only for pages of the server's own origin and of origins listed by name:
// a browser sends it with the requests of every page.
func TestCookie(t *testing.T) {
	cookie := func(s *setup) { s.api.Cookie = "session" }
	h := start(t, withAuth(t), cookie, withOrigins("*", appPage))
	good := "session=" + token(t, time.Hour, all("den"))
	for _, tt := range []struct {
		header []string
		want   int
	}{
		{nil, 200}, {[]string{"Origin", h.url}, 200}, {[]string{"Origin", appPage}, 200},
		{[]string{"Origin", "https://evil.example.com"}, 403}, {[]string{"Origin", "null"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200}, {[]string{"Sec-Fetch-Site", "cross-site"}, 403}, {[]string{"Sec-Fetch-Site", "same-site"}, 403},
	} {
		a := h.request("GET", "/v1/rooms/den/events", "", append(tt.header, "Cookie", good)...)
		if a.status != tt.want || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%v: %d %v", tt.header, a.status, a.header)
		}
	}
	if a := h.request("GET", "/v1/rooms/den/events", "", "Cookie", "other="+good); a.status != 401 {
		t.Errorf("another cookie: %d", a.status)
	}
	named := start(t, withAuth(t), cookie, withOrigins(appPage))
	if a := named.request("GET", "/v1/rooms/den/events", "", "Cookie", good, "Origin", appPage); a.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("a page listed by name: %v", a.header)
	}
	off := start(t, withAuth(t))
	if a := off.request("GET", "/v1/rooms/den/events", "", "Cookie", good); a.status != 401 {
		t.Errorf("without --auth-cookie: %d", a.status)
	}
}

func TestParseOrigin(t *testing.T) {
	for text, want := range map[string]string{appPage: appPage, "*": "*", "http://localhost:3000": "http://localhost:3000", "HTTPS://App.Example.com": appPage} {
		if got, err := api.ParseOrigin(text); err != nil || got != want {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
	for _, text := range []string{"", "null", "app.example.com", appPage + "/", appPage + "/x", "https://*.example.com", "ftp://x", "https://u@x", "https://x?y"} {
		if got, err := api.ParseOrigin(text); err == nil {
			t.Errorf("%q was accepted as %q", text, got)
		}
	}
}

// Addresses that do not exist and OPTIONS need no credential.
func TestOpenAddresses(t *testing.T) {
	h := start(t, withAuth(t))
	for _, path := range []string{"/v2", "/v1", "/favicon.ico"} {
		if a := h.request("GET", path, ""); a.status != 404 && a.status != 401 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := h.request("OPTIONS", "/v1/events", ""); a.status != 204 {
		t.Errorf("OPTIONS: %d", a.status)
	}
	if got := fmt.Sprint(h.request("GET", "/livez", "").header.Get("X-Content-Type-Options")); got != "nosniff" {
		t.Errorf("X-Content-Type-Options %q", got)
	}
}
