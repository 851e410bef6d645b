//go:build linux

package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/http2"
)

// leftInUse is how many bytes of memory may stay in use after ten thousand connections. It
// detects 400 bytes left by each of them.
const leftInUse = 4 << 20

// shortIdle is how long net/http keeps an HTTP/2 connection that ended with open streams:
// its idle time-out, because it starts that timer too late.
const shortIdle = "--idle-timeout=2s"

// An earlyExit describes how a client leaves during its handshake.
type earlyExit struct {
	name string
	play func(l *conn, random *rand.Rand) error
}

// allEarlyExits returns the ways to leave a server that speaks TLS.
func allEarlyExits(config *tls.Config, hello string) []earlyExit {
	says := func(text string) func(*conn, *rand.Rand) error {
		return func(l *conn, _ *rand.Rand) error { return l.send(text) }
	}
	// encrypted returns an earlyExit that sends a text within TLS and waits for some bytes of
	// the answer.
	encrypted := func(protocol, text string, answer int) func(*conn, *rand.Rand) error {
		return func(l *conn, _ *rand.Rand) error {
			conn, err := l.encrypt(config, protocol)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return err
			}
			_, err = io.ReadFull(conn, make([]byte, answer))
			return err
		}
	}
	get, publish := stream("/v1/rooms/lobby/events"), post("/v1/rooms/hall/events", `{"data":1}`)
	return []earlyExit{
		{"nothing is said", says("")},
		{"half a ClientHello", func(l *conn, random *rand.Rand) error { return l.send(hello[:1+random.IntN(len(hello)-1)]) }},
		{"a ClientHello", says(hello)},
		{"a ClientHello, and a look at the answer", func(l *conn, random *rand.Rand) error {
			if err := l.send(hello); err != nil {
				return err
			}
			_, err := io.ReadFull(l, make([]byte, 1+random.IntN(500)))
			return err
		}},
		{"no TLS", func(l *conn, _ *rand.Rand) error { return l.expect(get, http.StatusBadRequest) }},
		{"a handshake", encrypted(overHTTP1, "", 0)},
		{"half a request", encrypted(overHTTP1, get[:len(get)/2], 0)},
		{"half a publish", encrypted(overHTTP1, publish[:len(publish)-5], 0)},
		{"half a stream", encrypted(overHTTP1, get, leastAnswer)},
		{"a handshake for HTTP/2", encrypted(overHTTP2, "", 0)},
		{"half a preface", encrypted(overHTTP2, preface()[:10], 0)},
		{"a preface", encrypted(overHTTP2, preface(), 0)},
		{"half a HEADERS frame", encrypted(overHTTP2, preface()+follows(1)[:30], 0)},
		{"a stream that is reset at once", encrypted(overHTTP2, preface()+follows(1)+cancels(1), 0)},
		{"a stream that is reset when it stands", func(l *conn, _ *rand.Rand) error {
			conn, err := l.encrypt(config, overHTTP2)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(conn, preface()+follows(1)+asks()); err != nil {
				return err
			}
			if err := awaitPong(conn); err != nil {
				return err
			}
			_, err = io.WriteString(conn, cancels(1))
			return err
		}},
		{"a publish over HTTP/2 without its body", encrypted(overHTTP2, preface()+headers(1, http.MethodPost, "/v1/rooms/hall/events"), 0)},
	}
}

// Ten thousand clients leave during their handshake, or before they have asked for anything,
// over HTTP/1.1 and HTTP/2. Afterwards the server holds no more than before, memory
// included, and serves new clients.
func TestAbandonedHandshakes(t *testing.T) {
	s := serveTLS(t, "--data", t.TempDir(), "--pprof-listen=127.0.0.1:0", shortIdle)
	c := &caller{to: s.Addr}
	ways := allEarlyExits(s.tls, clientHello(t, s.tls))
	one := func(w earlyExit, random *rand.Rand) error {
		l, err := c.dial()
		if err != nil {
			return err
		}
		defer l.Close()
		if err := w.play(l, random); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		if random.IntN(2) == 0 {
			l.reset()
		}
		return nil
	}
	must(t, s.served())
	for _, w := range ways { // one-time allocations happen here
		must(t, one(w, rand.New(rand.NewPCG(0, 0))))
	}
	before := s.awaitRest()
	memory := s.heap()
	abandon(t, "handshakes", func(random *rand.Rand) error { return one(ways[random.IntN(len(ways))], random) })
	s.awaitReturn(before)
	s.awaitHeap(memory, leftInUse)
	must(t, s.served())
}

// Streams that are opened and cancelled at once ("rapid reset", CVE-2023-44487), ten
// thousand on one connection and as many on forty, leave nothing behind. Other clients are
// served meanwhile. Five rounds are a hundred thousand streams, so that the test detects 80
// bytes left by each, beside the room that maps keep.
func TestRapidReset(t *testing.T) {
	s := serveTLS(t, "--data", t.TempDir(), "--pprof-listen=127.0.0.1:0", shortIdle)
	must(t, s.served())
	before, memory := s.awaitRest(), s.heap()
	stays, err := newTLSFollower(s, overHTTP2, "hall")
	must(t, err)
	defer stays.leave()
	for range 5 {
		s.floodWithResets()
		must(t, s.served())
	}
	must(t, stays.awaitOwnEvent())
	stays.leave()
	s.awaitReturn(before)
	s.awaitHeap(memory, 2*leftInUse)
	must(t, s.served())
}

// floodWithResets opens and cancels streams, and returns when all are cancelled.
func (s *server) floodWithResets() {
	s.t.Helper()
	const connections, each = 40, abandonedEach / 40
	c := &caller{to: s.Addr}
	var running sync.WaitGroup
	for range connections {
		running.Go(func() {
			if err := resetAtOnce(c, s.tls, each); err != nil {
				s.t.Errorf("%d streams: %v", each, err)
			}
		})
	}
	running.Go(func() {
		err := resetAtOnce(c, s.tls, abandonedEach)
		told := goAway(0)
		calmed := errors.As(err, &told) && http2.ErrCode(told) == http2.ErrCodeEnhanceYourCalm
		closed := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) // for too many resets
		if err != nil && !calmed && !closed {
			s.t.Errorf("%d streams: %v", abandonedEach, err)
		}
		s.t.Logf("the connection with %d streams ends with: %v", abandonedEach, err)
	})
	running.Wait()
}

// resetAtOnce opens n streams on one connection and cancels each at once. An error may be
// the server's GOAWAY.
func resetAtOnce(c *caller, config *tls.Config, n int) error {
	l, err := c.dial()
	if err != nil {
		return err
	}
	defer l.reset()
	conn, err := l.encrypt(config, overHTTP2)
	if err != nil {
		return err
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	defer l.Close() // ends the writing
	writing.Go(func() {
		var text strings.Builder
		text.WriteString(preface())
		for i := range n {
			id := uint32(1 + 2*i)
			text.WriteString(follows(id) + cancels(id))
		}
		text.WriteString(asks())
		_, _ = io.WriteString(conn, text.String()) // the reader receives the outcome
	})
	return awaitPong(conn)
}

// A frame that is announced and never sent takes no noticeable memory.
func TestAnnouncedFrames(t *testing.T) {
	const clients, announced = 200, 1 << 20
	s := serve(t, "--data", t.TempDir(), "--pprof-listen=127.0.0.1:0")
	c := &caller{to: s.Addr}
	for _, size := range []int{16 << 10, announced} { // the size that every server accepts, and a large one
		memory := s.heap()
		var lines []*conn
		for range clients {
			l, err := c.dial()
			must(t, err)
			t.Cleanup(l.reset)
			head := string([]byte{byte(size >> 16), byte(size >> 8), byte(size), byte(http2.FrameHeaders), 0, 0, 0, 0, 1})
			must(t, l.send(preface()+asks()+head))
			_ = awaitPong(l) // the server may answer the frame with GOAWAY
			lines = append(lines, l)
		}
		grown := s.heap() - memory
		t.Logf("%d clients that announce %d bytes hold %d each", clients, size, grown/clients)
		if grown > clients*announced/10 {
			t.Errorf("%d clients that announce %d bytes hold %d", clients, size, grown)
		}
		for _, l := range lines {
			l.reset()
		}
	}
}
