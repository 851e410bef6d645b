//go:build linux

package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark/tidemark/tests/redistest"
)

// A wrong is an invalid request, as bytes, and the answer it must get.
type wrong struct {
	name   string
	text   string
	status int
	code   string // of the problem document; "" where net/http itself answers
	cut    bool   // the client closes its side after it
}

// A route is a method and a path of the API.
type route struct {
	method, path string
	takesBody    bool
}

// allRoutes returns the routes in api/openapi.yaml. A test of package api compares that file
// with the server.
func allRoutes(t *testing.T) (routes []route) {
	t.Helper()
	text, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for path, operations := range document.Paths {
		for method, operation := range operations {
			if method == "parameters" {
				continue
			}
			var body struct {
				RequestBody yaml.Node `yaml:"requestBody"`
			}
			if err := operation.Decode(&body); err != nil {
				t.Fatal(err)
			}
			routes = append(routes, route{strings.ToUpper(method), path, !body.RequestBody.IsZero()})
		}
	}
	slices.SortFunc(routes, func(a, b route) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return routes
}

// at returns the route's path with name in place of its parameter.
func (r route) at(name string) string {
	before, rest, named := strings.Cut(r.path, "{")
	if !named {
		return r.path
	}
	_, after, _ := strings.Cut(rest, "}")
	return before + name + after
}

// named reports whether the path names a room or a user.
func (r route) named() bool {
	return strings.Contains(r.path, "{room}") || strings.Contains(r.path, "{user}")
}

// request returns a valid request to the route, with another name and body.
func (r route) request(name, body string, fields ...string) string {
	path := r.at(name)
	switch {
	case r.takesBody:
		return post(path, body, fields...)
	case r.path == "/v1/ws":
		return upgrade(fields...)
	}
	return request(r.method, path, fields...)
}

// good returns a valid body for the route.
func (r route) good() string {
	if r.path == "/v1/events" {
		return `{"events":[{"room":"lobby","data":1}]}`
	}
	return `{"data":1}`
}

// inData returns a body for the route with the data.
func (r route) inData(data string) string {
	return strings.Replace(r.good(), `"data":1`, `"data":`+data, 1)
}

// allWrongs returns invalid requests to the route.
func (r route) allWrongs() []wrong {
	list := []wrong{
		{name: "headers too long", text: r.request("lobby", r.good(), "X-Long: "+strings.Repeat("x", 70<<10)), status: 431, code: "header-too-large"},
		{name: "headers that go on and on", text: r.request("lobby", r.good(), "X-Long: "+strings.Repeat("x", 300<<10)), status: 431},
		{name: "an address too long", text: strings.Replace(r.request("lobby", r.good()), " HTTP", "?x="+strings.Repeat("x", 70<<10)+" HTTP", 1), status: 431, code: "header-too-large"},
		{name: "another method", text: request("BREW", r.at("lobby")), status: 405, code: "method-not-allowed"},
		{name: "an address that goes on", text: request("GET", strings.TrimSuffix(r.at("lobby"), "/")+"/more/and/more"), status: 404, code: "not-found"},
		{name: "an address that is no URL", text: request("GET", r.at("%zz")+"%zz"), status: 400},
		// The line is longer than the 14 characters by which net/http recognises HTTP/2.
		// After a shorter line net/http leaves bytes unread, which resets the connection.
		{name: "no HTTP", text: r.method + r.at("lobby") + " is no HTTP\r\n\r\n", status: 400},
	}
	if r.named() {
		list = append(list, r.wrongNames()...)
	}
	if r.takesBody {
		list = append(list, r.wrongBodies()...)
	}
	for i := range list {
		list[i].name = r.method + " " + r.path + ": " + list[i].name
	}
	return list
}

// wrongNames are names that no room and no user can have.
func (r route) wrongNames() (list []wrong) {
	for name, text := range map[string]string{
		"a NUL":              "a%00",
		"only a NUL":         "%00",
		"a star":             "a*",
		"a star, encoded":    "%2A",
		"a slash, encoded":   "a%2Fb",
		"dots and a slash":   "..%2F..%2Fetc",
		"a percent sign":     "%25",
		"a NUL, twice":       "%2500",
		"a space":            "a%20b",
		"a line":             "a%0Ab",
		"a hash tag":         "%7Blobby%7D",
		"not UTF-8":          "%FF%FE",
		"another script":     "%E6%97%A5",
		"nothing":            "",
		"far too much":       strings.Repeat("a", 201),
		"a question mark":    "%3F",
		"a system room":      "$sys",
		"a system room, too": "%24all%00",
	} {
		list = append(list, wrong{name: "a name with " + name, text: r.request(text, r.good()), status: 400, code: "room-invalid"})
	}
	for _, dots := range []string{".", "..", "%2e", "%2E%2e", ".%2e"} {
		if strings.Contains(r.path, "{room}") { // a user's room is "@..", which is not a parent directory
			list = append(list, wrong{name: "the name " + dots, text: r.request(dots, r.good()), status: 400, code: "room-invalid"})
		}
	}
	return append(list, wrong{name: "a name with a slash", text: r.request("a/b", r.good()), status: 404, code: "not-found"})
}

// wrongBodies are invalid as a whole.
func (r route) wrongBodies() []wrong {
	deep := func(n int) string { return r.inData(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	body := func(name, body string, status int, code string, fields ...string) wrong {
		return wrong{name: name, text: r.request("lobby", body, fields...), status: status, code: code}
	}
	list := []wrong{
		body("no body", "", 400, "body-invalid"),
		body("not JSON", "data=1", 400, "body-invalid"),
		body("no object", "[1]", 400, "body-invalid"),
		body("half of it", r.good()[:5], 400, "body-invalid"),
		body("two of them", r.good()+r.good(), 400, "body-invalid"),
		body("far too deep", deep(20_000), 400, "body-invalid"),
		body("not UTF-8", r.inData("\"\xff\""), 400, "body-invalid"),
		body("half a surrogate, as bytes", r.inData("\"\xed\xa0\x80\""), 400, "body-invalid"),
		body("UTF-16", "\xff\xfe{\x00}\x00", 400, "body-invalid"),
		body("a byte order mark", "\xef\xbb\xbf"+r.good(), 400, "body-invalid"),
		body("an unknown field", strings.Replace(r.good(), "{", `{"ttl":5,`, 1), 400, "body-invalid"),
		body("another kind of body", r.good(), 415, "media-type-unsupported", "Content-Type: text/plain"),
		body("far too much", r.inData(`"`+strings.Repeat("x", 9<<20)+`"`), 413, "body-too-large"),
		{name: "far too much, in chunks", text: request("POST", r.at("lobby"), "Transfer-Encoding: chunked") + chunks(9, 1<<20), status: 413, code: "body-too-large"},
		{name: "a body that ends early", text: request("POST", r.at("lobby"), "Content-Length: 100") + r.good(), status: 400, code: "body-invalid", cut: true},
		{name: "a chunk that ends early", text: request("POST", r.at("lobby"), "Transfer-Encoding: chunked") + "ff\r\n" + r.good(), status: 400, code: "body-invalid", cut: true},
		{name: "a chunk of no size", text: request("POST", r.at("lobby"), "Transfer-Encoding: chunked") + "no\r\n" + r.good(), status: 400, code: "body-invalid"},
		{name: "two lengths", text: request("POST", r.at("lobby"), "Content-Length: 10", "Content-Length: 11") + r.good(), status: 400},
	}
	if r.path == "/v1/events" {
		many := strings.TrimSuffix(strings.Repeat(`{"room":"lobby","data":1},`, 1001), ",")
		rooms := `"b"`
		for i := range 999 {
			rooms += fmt.Sprintf(`,"b%d"`, i)
		}
		return append(list,
			body("no events", `{}`, 400, "body-invalid"),
			body("too many events", `{"events":[`+many+`]}`, 413, "batch-too-large"),
			body("too many rooms in all", `{"events":[{"room":"lobby","data":1},{"rooms":[`+rooms+`],"data":1}]}`, 413, "batch-too-large"),
			body("a key for all", r.good(), 400, "key-invalid", "Idempotency-Key: k"))
	}
	return append(list,
		body("data too deep", deep(65), 400, "data-too-deep"),
		body("data too large", r.inData(`"`+strings.Repeat("x", 64<<10)+`"`), 413, "data-too-large"),
		body("a type that can't be", strings.Replace(r.good(), "{", `{"type":"a*",`, 1), 400, "type-invalid"),
		body("a reserved type", strings.Replace(r.good(), "{", `{"type":"tidemark.gap",`, 1), 400, "type-invalid"),
		body("no data", `{}`, 400, "body-invalid"),
		body("an empty key", r.good(), 400, "key-invalid", "Idempotency-Key: "),
		body("a key too long", r.good(), 400, "key-invalid", "Idempotency-Key: "+strings.Repeat("k", 256)),
		body("two keys", r.good(), 400, "key-invalid", "Idempotency-Key: a", "Idempotency-Key: b"))
}

// chunks returns n chunks of a size, without the last chunk.
func chunks(n, size int) string {
	return strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", size, strings.Repeat(" ", size)), n)
}

// wrongFollows have valid syntax and ask for something that does not exist.
func wrongFollows() []wrong {
	room, several := "/v1/rooms/lobby/events", "/v1/events"
	list := []wrong{
		{name: "nothing acceptable", text: request("GET", room, "Accept: image/png"), status: 406, code: "not-acceptable"},
		{name: "no stream acceptable", text: request("GET", several, "Accept: application/json"), status: 406, code: "not-acceptable"},
		{name: "too many rooms", text: stream(several + "?" + strings.Repeat("room=r&", 101)), status: 400, code: "too-many-rooms"},
		{name: "no page size", text: request("GET", room+"?limit=0"), status: 400, code: "limit-invalid"},
		{name: "no order", text: request("GET", room+"?order=up"), status: 400, code: "order-invalid"},
		{name: "no position after", text: request("GET", room+"?after=*"), status: 400, code: "cursor-invalid"},
		{name: "no position before", text: request("GET", room+"?before=%00"), status: 400, code: "cursor-invalid"},
	}
	for _, path := range []string{room, several} {
		for _, last := range []string{"0", "-1", "1001", "x", "%00"} {
			list = append(list, wrong{name: path + " last " + last, text: stream(path + "?last=" + last), status: 400, code: "last-invalid"})
		}
	}
	for _, name := range []string{"", "a*", "%00", "..", "a%2Fb", "%FF", "$sys", strings.Repeat("a", 201)} {
		list = append(list, wrong{name: "following " + name, text: stream(several + "?room=lobby&room=" + name), status: 400, code: "room-invalid"})
	}
	return list
}

// wrongHandshakes are upgrades that the server must refuse.
func wrongHandshakes() []wrong {
	handshake := func(fields ...string) string { return request("GET", "/v1/ws", fields...) }
	const connection, up, version, key = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
	return []wrong{
		{name: "no upgrade", text: handshake(), status: 426, code: "upgrade-required"},
		{name: "an upgrade to something else", text: handshake(connection, "Upgrade: h2c", version, key), status: 426, code: "upgrade-required"},
		{name: "another version", text: handshake(connection, up, "Sec-WebSocket-Version: 8", key), status: 400, code: "handshake-invalid"},
		{name: "no key", text: handshake(connection, up, version), status: 400, code: "handshake-invalid"},
		{name: "a key of another length", text: handshake(connection, up, version, "Sec-WebSocket-Key: AAAA"), status: 400, code: "handshake-invalid"},
		{name: "another language", text: upgrade("Sec-WebSocket-Protocol: mqtt, chat"), status: 400, code: "subprotocol-unsupported"},
		{name: "another origin", text: upgrade("Origin: https://evil.example"), status: 403, code: "origin-forbidden"},
	}
}

// wrongParts are paths that the console does not have.
func wrongParts() (list []wrong) {
	for _, name := range []string{"nothing.js", "", ".", "..", "../livez", "%2e%2e%2flivez", "%00", "*", "a%2Fb"} {
		list = append(list, wrong{name: "GET /console/" + name, text: request("GET", "/console/"+name), status: 404, code: "not-found"})
	}
	return list
}

// Every route answers an invalid request with one problem document and stores nothing. The
// same holds for WebSocket messages.
func TestScenario38Malformed(t *testing.T) {
	redis := redistest.StartProcess(t)
	for log, args := range map[string][]string{
		"embedded": {"--data", t.TempDir()},
		"redis":    {"--redis", redis.URL()},
	} {
		t.Run(log, func(t *testing.T) {
			s := serve(t, args...)
			for _, room := range touched() {
				fill(t, s, url.PathEscape(room), 1)
			}
			before := s.stored(redis)
			list := slices.Concat(wrongFollows(), wrongHandshakes(), wrongParts())
			for _, r := range allRoutes(t) {
				list = append(list, r.allWrongs()...)
			}
			c := &caller{to: s.Addr}
			eachOf(list, func(w wrong) {
				if err := w.check(c); err != nil {
					t.Errorf("%s: %v", w.name, err)
				}
			})
			checkBatch(t, c)
			checkMessages(t, c)
			s.unchanged(before, s.stored(redis))
			if want, told := owed(list), s.problems(); !maps.Equal(want, told) {
				t.Errorf("problems reported: %v, want %v", told, want)
			}
			t.Logf("%d requests, %d events of a batch, %d messages", len(list), len(wrongEvents()), len(wrongMessages()))
		})
	}
}

// owed returns how many problems the server must report, by code.
func owed(list []wrong) map[string]float64 {
	problems := make(map[string]float64)
	for _, w := range list {
		if w.code != "" {
			problems[w.code]++
		}
	}
	for _, code := range wrongEvents() {
		problems[code]++
	}
	for _, m := range wrongMessages() {
		problems[m.code]++
	}
	return problems
}

// eachOf calls check for each element of list, several at once.
func eachOf(list []wrong, check func(wrong)) {
	work := make(chan wrong)
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for w := range work {
				check(w)
			}
		})
	}
	for _, w := range list {
		work <- w
	}
	close(work)
	running.Wait()
}

// check sends the request and reads everything that comes back.
func (w wrong) check(c *caller) error {
	l, err := c.dial()
	if err != nil {
		return err
	}
	defer l.reset()
	var sending sync.WaitGroup
	defer sending.Wait()
	defer l.reset()
	sending.Go(func() { // concurrently: the answer may come before everything is sent
		_ = l.send(w.text)
		if w.cut {
			_ = l.CloseWrite()
		}
	})
	method, _, _ := strings.Cut(w.text, " ")
	res, err := http.ReadResponse(l.in, &http.Request{Method: method})
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("the answer's body: %w", err)
	}
	if res.StatusCode != w.status {
		return fmt.Errorf("%s, want %d\n%s", res.Status, w.status, body)
	}
	if w.code == "" {
		return nil
	}
	if method == http.MethodHead {
		body = nil
	} else if err := checkProblem(res.Header, body, w.status, w.code); err != nil {
		return err
	}
	return l.checkEnd(res, w.cut)
}

// checkProblem returns an error unless the answer is the right problem document.
func checkProblem(h http.Header, body []byte, status int, code string) error {
	if kind := h.Get("Content-Type"); kind != "application/problem+json" {
		return fmt.Errorf("Content-Type %q\n%s", kind, body)
	}
	return checkDocument(body, status, code)
}

// checkDocument returns an error unless the document has the code, status and text of the
// problem.
func checkDocument(text []byte, status int, code string) error {
	var p struct {
		Type, Title, Detail, Code string
		Status                    int
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&p); err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	if _, err := strict.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%q: more than one document", text)
	}
	if p.Status != status || p.Code != code || p.Type != "urn:tidemark:problem:"+code || p.Title == "" || p.Detail == "" {
		return fmt.Errorf("%s, want %d %s", text, status, code)
	}
	return nil
}

// checkEnd returns an error if anything follows the answer. The connection must end, or
// answer the next request as if it were the first.
func (l *conn) checkEnd(res *http.Response, cut bool) error {
	if res.Close || cut {
		rest, _ := io.ReadAll(l.in) // the server may reset the connection, because it has not read everything
		if len(rest) > 0 {
			return fmt.Errorf("the answer is followed by %.80q", rest)
		}
		return nil
	}
	if err := l.expect(request("GET", "/livez"), http.StatusOK); err != nil {
		return fmt.Errorf("the next request: %w", err)
	}
	return nil
}

// wrongEvents are events of a batch that cannot be stored, with the codes of their problems.
func wrongEvents() map[string]string {
	big := strings.Repeat("x", 64<<10)
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	return map[string]string{
		`{"room":"a*","data":1}`:                   "room-invalid",
		`{"room":"\u0000","data":1}`:               "room-invalid",
		`{"room":"..","data":1}`:                   "room-invalid",
		`{"room":"a/b","data":1}`:                  "room-invalid",
		`{"room":"","data":1}`:                     "room-invalid",
		`{"user":"*","data":1}`:                    "room-invalid",
		`{"user":"","data":1}`:                     "room-invalid",
		`{"room":"lobby","data":"` + big + `"}`:    "data-too-large",
		`{"room":"lobby","data":` + deep + `}`:     "data-too-deep",
		`{"room":"lobby","data":1,"type":"a b"}`:   "type-invalid",
		`{"room":"lobby","data":1,"key":""}`:       "key-invalid",
		`{"room":"lobby","data":1,"key":"\u0000"}`: "key-invalid",
		`{"room":"lobby"}`:                         "body-invalid",
		`{"room":1,"data":1}`:                      "body-invalid",
		`{"room":"lobby","user":"ann","data":1}`:   "body-invalid",
		`{"rooms":["lobby","lobby"],"data":1}`:     "body-invalid",
		`{"rooms":[],"data":1}`:                    "body-invalid",
		`{"data":1}`:                               "body-invalid",
		`{"room":"lobby","data":1,"Data":2}`:       "body-invalid",
		`7`:                                        "body-invalid",
	}
}

// checkBatch sends them as one batch: each must get its result.
func checkBatch(t *testing.T, c *caller) {
	t.Helper()
	events := wrongEvents()
	texts := slices.Collect(maps.Keys(events))
	l, err := c.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer l.reset()
	if err := l.send(post("/v1/events", `{"events":[`+strings.Join(texts, ",")+`]}`)); err != nil {
		t.Fatal(err)
	}
	res, err := l.answer()
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Results []struct {
			Error json.RawMessage
			ID    string
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Results) != len(texts) {
		t.Fatalf("%s: %d results for %d events: %v", res.Status, len(answer.Results), len(texts), err)
	}
	for i, r := range answer.Results {
		status, code := http.StatusBadRequest, events[texts[i]]
		if code == "data-too-large" {
			status = http.StatusRequestEntityTooLarge
		}
		if err := checkDocument(r.Error, status, code); err != nil || r.ID != "" {
			t.Errorf("%.80s: %v, id %q", texts[i], err, r.ID)
		}
	}
}
