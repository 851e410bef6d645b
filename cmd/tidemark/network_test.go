package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tidemark/tidemark/tests/program"
)

// A node on a Unix socket needs no credentials, for its mode says whom it lets in. It is
// reached by curl and by the client commands, and removes its socket.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidemark.sock")
	s := tidemark.Serve(t, program.Options{}, "--listen", "unix:"+path, "--data", t.TempDir())
	if s.Addr != "unix:"+path {
		t.Errorf("it listens on %q", s.Addr)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|socketMode {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	client := program.Options{Env: []string{"TIDEMARK_URL=unix:" + path}}
	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	id := strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "1"))
	tail.Stdout.AwaitText(t, id)
	if got := tidemark.Must(t, client, "health"); got != "ok\n" {
		t.Errorf("health says %q", got)
	}
	out, err := exec.Command("curl", "-s", "--unix-socket", path, "http://localhost/v1/rooms/lobby/events").CombinedOutput()
	if err != nil || !strings.Contains(string(out), id) {
		t.Errorf("curl: %s %v", out, err)
	}

	_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen", "unix:"+path, "--data", t.TempDir())
	if code != exitFailed || !strings.Contains(stderr, "another process listens on it") || len(lines(stderr)) != 1 {
		t.Errorf("a second node on the socket: exit code %d\n%s", code, stderr)
	}
	tidemark.Must(t, client, "health") // the first goes on

	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// The socket of a node that was killed does not keep the next one from starting; any
// other file does.
func TestSocketLeftBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tidemark.sock")
	tidemark.Serve(t, program.Options{}, "--listen", "unix:"+path, "--data", t.TempDir()).Kill()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("nothing was left behind: the test tests nothing")
	}
	tidemark.Serve(t, program.Options{}, "--listen", "unix:"+path, "--data", t.TempDir())
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{
		file:                             "is not a socket",
		"":                               "want unix: and a path",
		"/" + strings.Repeat("long", 30): "want unix: and a path",
		dir + "/none/tidemark.sock":      "no such file or directory",
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen", "unix:"+where, "--data", t.TempDir())
		if code == exitOK || !strings.Contains(stderr, want) || len(lines(stderr)) != 1 {
			t.Errorf("unix:%s: exit code %d, want one line with %q:\n%s", where, code, want, stderr)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

// A node that ends leaves the socket alone that another has put in its place.
func TestSocketOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tidemark.sock")
	old, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	for range 2 { // serve closes it twice
		old.Close()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// A client that takes nothing of its HTTP/2 connection, and yet goes on talking, does not
// hold its streams for good.
func TestDeafClientThatTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		defer client.Close()
		ended := make(chan time.Time, 1)
		web := newWeb(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; { // as one follows
				_, _ = w.Write(make([]byte, 4<<10))
				err = http.NewResponseController(w).Flush()
			}
			ended <- time.Now()
		}), nil)
		listener := &oneConn{conn: make(chan net.Conn, 1), done: make(chan struct{})}
		listener.conn <- conn
		var serving sync.WaitGroup
		serving.Go(func() { _ = web.Serve(listener) })
		defer serving.Wait()
		defer web.Close()

		begun := time.Now()
		framer := http2.NewFramer(client, client)
		_, _ = io.WriteString(client, http2.ClientPreface)
		var request bytes.Buffer
		fields := hpack.NewEncoder(&request)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/"}} {
			_ = fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		var greeting sync.WaitGroup
		greeting.Go(func() { _, _ = framer.ReadFrame() }) // its settings; nothing after that
		_ = framer.WriteSettings()
		greeting.Wait()
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: request.Bytes(), EndStream: true, EndHeaders: true})
		for time.Since(begun) < 10*silenceWait {
			if framer.WriteWindowUpdate(0, 1) != nil {
				break
			}
			time.Sleep(pingAfter / 2)
		}
		select {
		case at := <-ended:
			if at.Sub(begun) > 2*silenceWait {
				t.Errorf("the stream ended after %v", at.Sub(begun))
			}
		default:
			t.Error("the stream goes on")
		}
	})
}

// oneConn is a listener that accepts a single connection.
type oneConn struct {
	conn chan net.Conn
	done chan struct{}
	once sync.Once
}

// Accept implements net.Listener.
func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
