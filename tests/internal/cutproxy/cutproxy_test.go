package cutproxy

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo returns the address of a server that sends back each line.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// A caller is the client's end of a connection.
type caller struct {
	net.Conn
	lines *bufio.Reader
}

func call(t *testing.T, p *Proxy) caller {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return newCaller(t, c)
}

func newCaller(t *testing.T, c net.Conn) caller {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	// No read in these tests waits for long unless the proxy is wrong.
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return caller{c, bufio.NewReader(c)}
}

func (c caller) say(line string) (answer string, err error) {
	if _, err := io.WriteString(c, line); err != nil {
		return "", err
	}
	return c.lines.ReadString('\n')
}

func TestForwardsUntilCut(t *testing.T) {
	p := Listen(t, echo(t))
	c := call(t, p)
	if got, err := c.say("hello\n"); got != "hello\n" {
		t.Fatalf("answer %q, %v", got, err)
	}
	if n := p.Cut(); n != 1 {
		t.Errorf("Cut() = %d, want 1", n)
	}
	if got, err := c.say("still there?\n"); err == nil || err == io.EOF {
		t.Errorf("after the cut: %q, %v; want a reset", got, err)
	}
	if got, err := call(t, p).say("again\n"); got != "again\n" {
		t.Errorf("a new connection: %q, %v", got, err)
	}
	if p.Accepted() != 2 {
		t.Errorf("Accepted() = %d, want 2", p.Accepted())
	}
}

// An orderly end of one direction passes through and leaves the other one open.
func TestHalfClose(t *testing.T) {
	p := Listen(t, echo(t))
	c := call(t, p)
	if _, err := io.WriteString(c, "last words\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c.lines); string(got) != "last words\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRefuse(t *testing.T) {
	p := Listen(t, echo(t))
	stands := call(t, p)
	if _, err := stands.say("in\n"); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // otherwise it was reset already
		if _, err := newCaller(t, c).say("hello\n"); err == nil {
			t.Error("refused, and answered")
		}
	}
	if got, err := stands.say("still in\n"); got != "still in\n" {
		t.Errorf("the standing connection: %q, %v", got, err)
	}
	p.Cut()
	p.Refuse(false)
	if got, err := call(t, p).say("hello\n"); got != "hello\n" {
		t.Errorf("no longer refused: %q, %v", got, err)
	}
}

// The proxy finds a marker that arrives in two reads.
func TestCutAfter(t *testing.T) {
	p := Listen(t, echo(t))
	c := call(t, p)
	if _, err := c.say("one two\n"); err != nil {
		t.Fatal(err)
	}
	cutDone := p.CutAfter("two\nthree")
	if _, err := c.say("nothing of it\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.say("one two\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "three four\n"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c.lines)
	if string(rest) != "three" || err == nil {
		t.Errorf("got %q, %v; want three and a reset", rest, err)
	}
	<-cutDone
}

// A marker that passed before the trap was set does not hide the next one.
func TestCutAfterIgnoresThePast(t *testing.T) {
	p := Listen(t, echo(t))
	c := call(t, p)
	if _, err := c.say("marker\n"); err != nil {
		t.Fatal(err)
	}
	p.CutAfter("marker")
	if got, err := c.say("unmarked\n"); err != nil {
		t.Fatalf("cut too early: %q, %v", got, err)
	}
	if got, err := c.say("marker\n"); err == nil {
		t.Errorf("the marker passed and nothing was cut: %q", got)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	p, err := New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	c := call(t, p)
	if _, err := c.say("hello\n"); err != nil {
		t.Fatal(err)
	}
	p.Close()
	p.Close()
	if _, err := c.say("hello\n"); err == nil {
		t.Error("answered after Close")
	}
}
