package serve

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An HTTP/2 client that reads nothing and keeps sending frames does not hold its streams
// forever.
func TestClientThatOnlySends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		defer client.Close()
		ended := make(chan time.Time, 1)
		web := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; { // like an event stream
				_, _ = w.Write(make([]byte, 4<<10))
				err = http.NewResponseController(w).Flush()
			}
			ended <- time.Now()
		}), nil, true)
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
		greeting.Go(func() { _, _ = framer.ReadFrame() }) // the server's settings; the client reads nothing else
		_ = framer.WriteSettings()
		greeting.Wait()
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: request.Bytes(), EndStream: true, EndHeaders: true})
		for time.Since(begun) < 10*maxSilence {
			if framer.WriteWindowUpdate(0, 1) != nil {
				break
			}
			time.Sleep(pingAfter / 2)
		}
		select {
		case at := <-ended:
			if at.Sub(begun) > 2*maxSilence {
				t.Errorf("the stream ended after %v", at.Sub(begun))
			}
		default:
			t.Error("the stream is still open")
		}
	})
}

// oneConn is a listener with a single connection.
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
