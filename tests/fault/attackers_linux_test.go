package fault_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// attackDial bounds a connection attempt of an attacker.
	attackDial = 5 * time.Second

	// attackPause is the time after which an attacker connects again.
	attackPause = 100 * time.Millisecond

	// smallBuffer is the receive buffer in bytes of an attacker that does not read.
	smallBuffer = 2 << 10
)

// attackers attack a node over loopback. Their number and the time of the attack are fixed.
type attackers struct {
	plan  attackPlan
	token string // their credential: that of a subscriber, unless the attack changes it

	connections, bytes atomic.Int64

	mu      sync.Mutex // guards the fields below
	answers map[string]int
	notes   []string
	faults  []string
}

func newAttackers(p attackPlan) *attackers {
	return &attackers{plan: p, token: p.Subscribe, answers: make(map[string]int)}
}

// report returns the result so far.
func (a *attackers) report() attackReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	return attackReport{
		Connections: a.connections.Load(), Bytes: a.bytes.Load(),
		Answers: maps.Clone(a.answers), Notes: slices.Clone(a.notes), Faults: slices.Clone(a.faults),
	}
}

func (r attackReport) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d connections", r.Connections)
	for _, answer := range slices.Sorted(maps.Keys(r.Answers)) {
		fmt.Fprintf(&text, ", %d × %s", r.Answers[answer], answer)
	}
	if r.Bytes > 0 {
		fmt.Fprintf(&text, ", read %s", megabytes(float64(r.Bytes)))
	}
	return text.String()
}

// note adds a line for the log of the test.
func (a *attackers) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

// fault fails the test.
func (a *attackers) fault(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// answered counts an answer of the node, or another event.
func (a *attackers) answered(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[what]++
}

// repeat runs count attackers at once. Each repeats do after a pause until ctx ends. It
// returns when all have ended.
func (a *attackers) repeat(ctx context.Context, count int, after time.Duration, do func(ctx context.Context, i int)) {
	var all sync.WaitGroup
	defer all.Wait()
	for i := range count {
		all.Go(func() {
			for ctx.Err() == nil {
				do(ctx, i)
				pause(ctx, after)
			}
		})
	}
}

// dial connects from the host 127.0.1.host. It returns nil if that fails. The connection
// ends with ctx at the latest, but close it.
func (a *attackers) dial(ctx context.Context, host int, receiveBuffer int) *attackConn {
	d := net.Dialer{Timeout: attackDial, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(host))}}
	if receiveBuffer > 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) error { return limitReceive(raw, receiveBuffer) }
	}
	conn, err := d.DialContext(ctx, "tcp", a.plan.Addr)
	if err != nil {
		if ctx.Err() == nil {
			a.answered("no connection")
		}
		return nil
	}
	a.connections.Add(1)
	c := &attackConn{TCPConn: conn.(*net.TCPConn), by: a}
	_ = c.SetLinger(0)
	c.release = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return c
}

// limitReceive sets the receive buffer before the connection is made: a window that was
// announced once is never taken back.
func limitReceive(raw syscall.RawConn, size int) (err error) {
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	})
	if controlErr != nil {
		return controlErr
	}
	return err
}

// An attackConn is a connection of an attacker.
type attackConn struct {
	*net.TCPConn
	by      *attackers
	release func() bool
}

// Close resets the connection.
func (c *attackConn) Close() error {
	c.release()
	return c.TCPConn.Close()
}

// send writes text and reports whether the node's system took it.
func (c *attackConn) send(text string) bool {
	_, err := io.WriteString(c, text)
	return err == nil
}

// hold waits until the node closes the connection or ctx ends. It reads nothing.
func (c *attackConn) hold(ctx context.Context) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	for ctx.Err() == nil {
		open := false
		_ = raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			open = err == nil && info.State == unix.BPF_TCP_ESTABLISHED
		})
		if !open {
			c.by.answered("closed by the node")
			return
		}
		pause(ctx, attackPause)
	}
}

// trickle reads size bytes a second until the connection or ctx ends.
func (c *attackConn) trickle(ctx context.Context, size int) {
	buf := make([]byte, size)
	for ctx.Err() == nil {
		n, err := c.Read(buf)
		c.by.bytes.Add(int64(n))
		if err != nil {
			if ctx.Err() == nil {
				c.by.answered("closed by the node")
			}
			return
		}
		pause(ctx, time.Second)
	}
}

// drain reads until a text comes, or the connection ends. It reports whether the text came.
func (c *attackConn) drain(until string, buf []byte) bool {
	kept := 0
	for {
		n, err := c.Read(buf[kept:])
		c.by.bytes.Add(int64(n))
		text := buf[:kept+n]
		if bytes.Contains(text, []byte(until)) {
			return true
		}
		if err != nil {
			return false
		}
		kept = copy(buf, text[max(0, len(text)-len(until)):])
	}
}

// response reads the header of an answer and counts its status.
func (c *attackConn) response(in *bufio.Reader) *http.Response {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil
	}
	c.by.answered(resp.Status)
	return resp
}

// get returns a request over HTTP/1.1 with the attackers' credential.
func (a *attackers) get(path string, headers ...string) string {
	return a.request(http.MethodGet, path, headers...)
}

func (a *attackers) request(method, path string, headers ...string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: tidemark\r\n", method, path)
	if a.token != "" {
		fmt.Fprintf(&text, "Authorization: Bearer %s\r\n", a.token)
	}
	for _, h := range headers {
		text.WriteString(h + "\r\n")
	}
	return text.String() + "\r\n"
}

const (
	acceptStream = "Accept: text/event-stream"
	acceptJSON   = "Accept: application/json"
)

// roomsQuery returns a query that names rooms.
func roomsQuery(count int, name func(int) string) string {
	var text strings.Builder
	for i := range count {
		text.WriteString("room=" + name(i) + "&")
	}
	return text.String()
}
