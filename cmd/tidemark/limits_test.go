package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/program"
)

// A limit out of range is a usage error that names the valid range.
func TestBadLimits(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"--max-data=0":                      "--max-data: 0, want 1 to",
		"--max-batch=0":                     "--max-batch: 0, want 1 to 100000",
		"--max-batch=1000000":               "--max-batch",
		"--max-body=1000":                   "--max-body: 1000, want 1024 to",
		"--max-rooms=-1":                    "--max-rooms: -1, want 1 to",
		"--max-header=100":                  "--max-header: 100, want 4096 to",
		"--header-timeout=0s":               "--header-timeout: 0s, want a time such as 10s",
		"--body-timeout=48h":                "--body-timeout",
		"--idle-timeout=-1s":                "--idle-timeout",
		"--idle-timeout=soon":               "--idle-timeout",
		"--max-messages=-1":                 "--max-messages: -1, want 0 to",
		"--publish-rate=100":                "want one like 100/s",
		"--publish-rate-per-address=0/s":    "want a number from 1 to",
		"--read-rate=10":                    "want one like 100/s",
		"--read-rate-per-address=x/s":       "want a number from 1 to",
		"--new-room-rate=1/d":               "want one like 100/s",
		"--max-followed-rooms=99":           "--max-followed-rooms: 99, want 100 to", // one connection may follow 100
		"--max-bodies-memory=1000000":       "--max-bodies-memory: 1000000, want 17866752 (",
		"--max-bodies-memory=-1":            "--max-bodies-memory: -1, want",
		"--trusted-proxy=proxy.example.com": "want one like 10.0.0.0/8",
		"--trusted-proxy=0.0.0.0/0":         "every address",
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen=127.0.0.1:0", "--data", t.TempDir(), arg)
		if code != exitUsage || !strings.Contains(stderr, want) || len(lines(stderr)) != 1 {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", arg, code, exitUsage, want, stderr)
		}
	}
}

// batchOf returns the body of a batch of n events.
func batchOf(n int) string {
	return `{"events":[` + strings.TrimSuffix(strings.Repeat(`{"room":"a","data":1},`, n), ",") + `]}`
}

// follow returns the path of a stream over n rooms.
func follow(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&room=r%d", i)
	}
	return "/v1/events?" + b.String()[1:]
}

// send sends a request with a header of the given size in bytes. It returns the status and,
// unless the answer is a stream, the body.
func send(t *testing.T, s *program.Server, method, path, body string, header int) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("X-Filler", strings.Repeat("x", header))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Type") == "text/event-stream" {
		return res.StatusCode, ""
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// Size limits take effect below and above their defaults.
func TestSizeLimits(t *testing.T) {
	t.Parallel()
	narrow := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(),
		"--max-data=100", "--max-batch=2", "--max-body=1024", "--max-rooms=3", "--max-header=4096")
	wide := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(),
		"--max-data=100000", "--max-batch=1100", "--max-body=10000000", "--max-rooms=110", "--max-header=600000")
	long := `{"data":"` + strings.Repeat("x", 90_000) + `"}`
	for _, tt := range []struct {
		method, path, body string
		header             int
		code               string // of the narrow server; "" to send to the wide server only
	}{
		{"POST", "/v1/rooms/a/events", `{"data":"` + strings.Repeat("x", 99) + `"}`, 0, "data-too-large"},
		{"POST", "/v1/rooms/a/events", long, 0, "body-too-large"},
		{"POST", "/v1/events", batchOf(3), 0, "batch-too-large"},
		{"POST", "/v1/events", batchOf(1100), 0, "body-too-large"},
		{"POST", "/v1/events", `{"events":[{"room":"a","data":` + strings.Repeat(" ", 9_000_000) + `1}]}`, 0, ""},
		{"GET", follow(4), "", 0, "too-many-rooms"},
		{"GET", follow(110), "", 0, "too-many-rooms"},
		{"GET", "/v1/rooms/a/events", "", 5000, "header-too-large"},
	} {
		if tt.code == "" {
		} else if status, text := send(t, narrow, tt.method, tt.path, tt.body, tt.header); status < 400 || !strings.Contains(text, `"code":"`+tt.code+`"`) {
			t.Errorf("%s %.40s, %d bytes, header %d: %d %s, want %s", tt.method, tt.path, len(tt.body), tt.header, status, text, tt.code)
		}
		if status, text := send(t, wide, tt.method, tt.path, tt.body, 500_000); status >= 300 || strings.Contains(text, `"error"`) {
			t.Errorf("%s %.40s, %d bytes: %d %.200s", tt.method, tt.path, len(tt.body), status, text)
		}
	}
	// The limit of net/http itself is higher than --max-header.
	if status, text := send(t, wide, "GET", "/v1/rooms/a/events", "", 700_000); status != 431 || !strings.Contains(text, `"code":"header-too-large"`) {
		t.Errorf("%d %s", status, text)
	}
}

// A client that is too slow with a request, or with the next one, is disconnected. The test
// does not wait long enough for the default timeouts.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	const shorterThanDefaults = 9 * time.Second
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(),
		"--header-timeout=200ms", "--body-timeout=200ms", "--idle-timeout=200ms")
	for name, tt := range map[string]struct{ sent, status, code string }{
		"nothing":                 {},
		"half a header":           {sent: "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: "},
		"half a body":             {sent: "POST /v1/broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"data\"", status: "400", code: `"body-invalid"`},
		"no second request":       {sent: "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", status: "200", code: `"ok"`},
		"half a second request's": {sent: "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez", status: "200", code: `"ok"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(shorterThanDefaults))
			if _, err := io.WriteString(conn, tt.sent); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(bufio.NewReader(conn))
			if wait := net.Error(nil); errors.As(err, &wait) && wait.Timeout() {
				t.Fatalf("still open after %q", got)
			}
			if !strings.Contains(string(got), tt.code) || tt.status != "" && !strings.HasPrefix(string(got), "HTTP/1.1 "+tt.status) {
				t.Errorf("%q, want %s with %s", got, tt.status, tt.code)
			}
		})
	}
}
