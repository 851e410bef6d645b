package recovery

import (
	"bufio"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

func TestReceivers(t *testing.T) {
	list := "id=3 addr=127.0.0.1:1 flags=N cmd=xadd\n" +
		"id=4 addr=127.0.0.1:2 flags=P sub=1 cmd=subscribe\n" +
		"id=5 addr=127.0.0.1:3 flags=b cmd=xread\n"
	if got, want := receivers(list), []string{"4", "5"}; !slices.Equal(got, want) {
		t.Errorf("receivers = %v, want %v", got, want)
	}
}

func TestHandle(t *testing.T) {
	g := &group{clients: make([]received, 2), opens: make([]int, 2), notes: make(map[string]int)}
	for _, line := range []string{"0 open", "1 open", "0 event 1", "0 event 2", "1 told trimmed", "1 open", "0 closed 503", "7 open", ""} {
		g.handle(line)
	}
	if want := []int{1, 2}; !slices.Equal(g.opens, want) {
		t.Errorf("opens = %v, want %v", g.opens, want)
	}
	if got, want := g.count(2), (Count{Clients: 2, Events: 2, Missing: 2, Incomplete: 1, Told: 1, Behind: 1}); got != want {
		t.Errorf("count = %+v, want %+v", got, want)
	}
	for _, note := range []string{"told: trimmed", "closed 503", "unreadable line: 7 open", "unreadable line: "} {
		if g.notes[note] != 1 {
			t.Errorf("notes = %v, want %q once", g.notes, note)
		}
	}
}

// A cut closes connections and refuses new ones. After restore the proxy leads to
// another node. While it is stalled, nothing arrives.
func TestProxy(t *testing.T) {
	one, two := greeter(t, "one\n"), greeter(t, "two\n")
	p, err := newProxy(one)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	c, r := dial(t, p.addr)
	if got, err := r.ReadString('\n'); got != "one\n" {
		t.Fatalf("read %q, %v", got, err)
	}
	p.cut()
	if _, err := r.ReadString('\n'); err == nil {
		t.Error("the connection is open after cut")
	}
	c.Close()
	if _, err := net.Dial("tcp", p.addr); err == nil {
		t.Error("a connection was accepted after cut")
	}
	if err := p.restore(two); err != nil {
		t.Fatal(err)
	}
	p.stall(true)
	c, r = dial(t, p.addr)
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if got, err := r.ReadString('\n'); err == nil {
		t.Errorf("read %q while stalled", got)
	}
	p.stall(false)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := r.ReadString('\n'); got != "two\n" {
		t.Errorf("read %q, %v after stall", got, err)
	}
}

// greeter listens, and sends a greeting on every connection.
func greeter(t *testing.T, greeting string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, greeting)
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}
