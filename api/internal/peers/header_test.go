package peers

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

const (
	get   = "GET / HTTP/1.1\r\nHost: x\r\n"
	whole = get + "\r\n"
)

// serve returns a Guard, the address of a server behind it, and a channel that receives the
// connection of each request.
func serve(t *testing.T, secured bool) (g *Guard, address string, conns chan *Conn) {
	t.Helper()
	g = newGuard(0, 0)
	conns = make(chan *Conn, 10)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := ConnOf(r.Context())
		c.Begin(r.ProtoMajor > 1)
		if r.ProtoMajor > 1 {
			defer c.End()
		}
		_, _ = io.Copy(io.Discard, r.Body)
		conns <- c
	}))
	web.Config.ConnContext, web.Config.ConnState = WithConn, Follow
	web.Config.ReadHeaderTimeout, web.Config.IdleTimeout = time.Hour, time.Hour
	web.Config.MaxHeaderBytes = 64 << 10
	web.Listener = g.Listen(web.Listener)
	web.EnableHTTP2 = true
	if secured {
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	return g, web.Listener.Addr().String(), conns
}

func dial(t *testing.T, address string, config *tls.Config) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	if config == nil {
		c, err = net.Dial("tcp", address)
	} else {
		c, err = tls.Dial("tcp", address, config)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// ask sends a request and awaits its answer.
func ask(t *testing.T, c net.Conn, request string) {
	t.Helper()
	send(t, c, request)
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, a.Body)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// await waits until the connections without a complete header cost from least to most.
func (g *Guard) await(t *testing.T, least, most int64) {
	t.Helper()
	var used int64
	eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		used = g.waiting.used
		return used >= least && used <= most
	}, func() string { return fmt.Sprintf("headers cost %d, want %d to %d", used, least, most) })
}

// eventually waits until is returns true.
func eventually(t *testing.T, is func() bool, problem func() string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(problem())
		}
	}
}

// A connection counts until its first request has arrived, and while a later one arrives,
// also if that begins in the segment or TLS record of the one before.
func TestHeaderMemory(t *testing.T) {
	part := get + strings.Repeat("a:\r\n", 2000)
	for _, config := range []*tls.Config{nil, {InsecureSkipVerify: true}} {
		g, address, _ := serve(t, config != nil)
		more := int64(headerFactor * 4 << 10) // bytes of the read before may count too
		if config != nil {
			more = headerFactor * 12 << 10 // and records of the handshake
		}
		c := dial(t, address, config)
		g.await(t, headerCost(0), headerCost(0)+more)
		ask(t, c, whole)
		g.await(t, 0, 0)
		send(t, c, part)
		g.await(t, headerCost(int64(len(part))), headerCost(int64(len(whole+part)))+more)
		ask(t, c, "\r\n")
		g.await(t, 0, 0)
		ask(t, c, whole+whole+part)
		g.await(t, headerCost(int64(len(part))), headerCost(int64(len(whole+whole+part)))+more)
		_ = c.Close()
		g.await(t, 0, 0)
	}
}

// An idle connection does not count, even if its last request had a large body.
func TestIdleConnectionsAreFree(t *testing.T) {
	g, address, conns := serve(t, false)
	c := dial(t, address, nil)
	ask(t, c, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", 100<<10, strings.Repeat("x", 100<<10)))
	guarded := <-conns
	eventually(t, func() bool { return guarded.requests.Load() == 0 && guarded.deadlines.Load() == 1 }, func() string { return "the connection is not idle" })
	send(t, c, "GET ") // net/http takes four bytes for the beginning of a request
	g.await(t, headerCost(4), headerCost(64<<10))
}

// An HTTP/2 connection counts until its first request, and if its client sends frames without
// a request.
func TestHeaderMemoryOverHTTP2(t *testing.T) {
	g, address, _ := serve(t, true)
	c := dial(t, address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	var reading sync.WaitGroup
	defer reading.Wait()
	defer c.Close()
	f := http2.NewFramer(c, c)
	send(t, c, http2.ClientPreface)
	_ = f.WriteSettings()
	answered := make(chan struct{}, 1)
	reading.Go(func() {
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok && h.StreamID == 1 {
				answered <- struct{}{}
			}
		}
	})
	g.await(t, headerCost(0), headerCost(8<<10))
	request := []byte{0x82, 0x84, 0x87, 0x41, 0x01, 'x'} // GET / https x
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: request, EndStream: true, EndHeaders: true})
	<-answered
	g.await(t, 0, 0)
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: request, EndStream: true})
	_ = f.WriteContinuation(3, false, []byte("\x00\x7f\xff\x7f"+strings.Repeat("x", 2<<10))) // a name of 16 KiB
	g.await(t, headerCost(idleBytes), headerCost(8<<10))
}

// Beyond the limit the connection is closed that has waited longest, and first one with a
// long header.
func TestHeadersBeyondTheLimit(t *testing.T) {
	g := New(Options{HeaderMemory: 4*headerCost(0) + headerFactor*(smallHeader+1), Trusted: func(netip.Addr) bool { return false }})
	admit := func() *Conn {
		c := g.admit(new(net.TCPConn), addr(1))
		g.wait(c, 0)
		return c
	}
	first, long, second, third := admit(), admit(), admit(), admit()
	g.wait(long, smallHeader+1)
	if long.released {
		t.Fatal("a header within the limit is closed")
	}
	admit()
	if !long.released || first.released {
		t.Errorf("closed: a long header %v, a short one that has waited longer %v", long.released, first.released)
	}
	g.arrived(first)
	for range 7 { // one more than the limit allows
		admit()
	}
	if first.released || !second.released || third.released {
		t.Errorf("closed: one whose request has arrived %v, the one that has waited longest %v, the next %v", first.released, second.released, third.released)
	}
	if g.waiting.used > g.waiting.limit {
		t.Errorf("%d bytes of %d", g.waiting.used, g.waiting.limit)
	}
}
