package fault_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidemark/tidemark/streams"
)

// A dropper is a proxy to Redis that drops the messages of one room's channel and forwards
// everything else. No real Redis does this, and no connection error reveals it.
type dropper struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup
	dropped  atomic.Int64

	mu    sync.Mutex // guards the fields below
	room  streams.Room
	conns []net.Conn
}

// newDropper starts a dropper, which ends with the test.
func newDropper(t *testing.T, target string) *dropper {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dropper{listener: l, target: target}
	d.running.Go(d.accept)
	t.Cleanup(d.close)
	return d
}

func (d *dropper) addr() string { return d.listener.Addr().String() }

// drop makes the proxy drop the messages of room; "" ends that.
func (d *dropper) drop(room streams.Room) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = room
}

func (d *dropper) close() {
	d.listener.Close()
	d.mu.Lock()
	for _, c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.running.Wait()
}

func (d *dropper) accept() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", d.target)
		if err != nil {
			client.Close()
			continue
		}
		d.mu.Lock()
		d.conns = append(d.conns, client, server)
		d.mu.Unlock()
		d.running.Go(func() { d.forward(client, server) })
	}
}

// forward serves one connection until either side ends it.
func (d *dropper) forward(client, server net.Conn) {
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
	})
	d.answers(client, server)
	client.Close()
	server.Close()
	up.Wait()
}

// answers forwards the answers of Redis, one value at a time.
func (d *dropper) answers(client io.Writer, server io.Reader) {
	in := bufio.NewReader(server)
	var value []byte
	for {
		var err error
		if value, err = appendValue(value[:0], in); err != nil {
			return
		}
		if d.drops(value) {
			d.dropped.Add(1)
			continue
		}
		if _, err := client.Write(value); err != nil {
			return
		}
	}
}

// drops reports whether value is a message of the room.
func (d *dropper) drops(value []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.room != "" && bytes.HasPrefix(value, []byte("*3\r\n$8\r\nsmessage\r\n")) &&
		bytes.Contains(value, []byte(":c:"+string(d.room)+"\r\n"))
}

var errRESP = errors.New("not RESP2")

// appendValue reads one value of RESP2 with all of its elements.
func appendValue(b []byte, in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return b, err
	}
	b = append(b, line...)
	if line[0] != '*' && line[0] != '$' {
		return b, nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil {
		return b, errRESP
	}
	if line[0] == '$' && n >= 0 {
		from := len(b)
		b = append(b, make([]byte, n+2)...)
		_, err := io.ReadFull(in, b[from:])
		return b, err
	}
	for ; line[0] == '*' && n > 0; n-- {
		if b, err = appendValue(b, in); err != nil {
			return b, err
		}
	}
	return b, nil
}

// dropping is a standalone Redis that each node reaches through a dropper.
type dropping struct {
	*standalone
	droppers []*dropper
}

var _ deployment = (*dropping)(nil)

func (d *dropping) reach(t *testing.T) ([]string, *link) {
	drop := newDropper(t, d.server.Addr())
	d.droppers = append(d.droppers, drop)
	return []string{"--redis=redis://" + drop.addr()}, nil
}
