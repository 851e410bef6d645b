//go:build unix

package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
)

// BenchmarkBroadcast measures the cost of one live event per connection, without the network:
// the connections write to /dev/null.
func BenchmarkBroadcast(b *testing.B) {
	const connections = 10_000
	log, err := embedded.Open(b.TempDir(), embedded.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	node := service.New(log, nil)
	defer node.Close()
	server := api.New(node, &api.Options{DrainSpread: time.Millisecond})
	defer server.Shutdown(context.Background())
	devNull, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer devNull.Close()
	for range connections - 1 {
		connect(server, devNull)
	}
	last, w := pipe(b)
	connect(server, w) // the last in the room, which an event reaches last
	publish := func() {
		node.Publish(b.Context(), []streams.Draft{{Room: "lobby", Type: "message", Data: []byte(`"delivered"`)}})
		for line := ""; line != "data: \"delivered\"\n"; {
			if line, err = last.ReadString('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range 5 {
		publish()
	}
	before := processorTime(b)
	for b.Loop() {
		publish()
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N)/connections, "cpu-ns/delivery")
}

// processorTime returns the processor time of the process so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pipe returns the ends of a pipe, which is closed with the benchmark.
func pipe(b *testing.B) (read *bufio.Reader, write *os.File) {
	r, write, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close(); write.Close() })
	return bufio.NewReader(r), write
}

// connect follows the room lobby over a connection whose bytes go to out.
func connect(server http.Handler, out *os.File) {
	r := httptest.NewRequest("GET", "/v1/rooms/lobby/events", nil)
	r.Header.Set("Accept", "text/event-stream")
	server.ServeHTTP(&hijackedWriter{header: http.Header{}, conn: &sink{out: out, closed: make(chan struct{})}}, r)
}

// A sink is the connection of a client that sends nothing and reads everything.
type sink struct {
	net.Conn
	out    *os.File
	once   sync.Once
	closed chan struct{}
}

func (c *sink) Write(b []byte) (int, error)           { return c.out.Write(b) }
func (c *sink) SetDeadline(time.Time) error           { return nil }
func (c *sink) SetReadDeadline(time.Time) error       { return nil }
func (c *sink) SetWriteDeadline(time.Time) error      { return nil }
func (c *sink) SyscallConn() (syscall.RawConn, error) { return c.out.SyscallConn() }
func (c *sink) Close() error                          { c.once.Do(func() { close(c.closed) }); return nil }
func (c *sink) Read([]byte) (int, error) {
	<-c.closed
	return 0, io.EOF
}

// A hijackedWriter is a response whose connection is taken over.
type hijackedWriter struct {
	header http.Header
	conn   net.Conn
}

func (w *hijackedWriter) Header() http.Header       { return w.header }
func (w *hijackedWriter) Write([]byte) (int, error) { return 0, http.ErrHijacked }
func (w *hijackedWriter) WriteHeader(int)           {}
func (w *hijackedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}
