package system_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/bench/internal/require"
	"github.com/tidemark/tidemark/bench/system"
)

// The Socket.IO server starts, serves a client, delivers an event, and leaves no
// process running.
func TestSocketIO(t *testing.T) {
	require.Program(t, "node")
	require.Program(t, "npm")
	s := system.NewSocketIO("../peers/socketio")
	if version, err := s.Version(); err != nil || !strings.HasPrefix(version, "4.") {
		t.Errorf("Version = %q, %v", version, err)
	}
	if err := s.Start(t.Context(), system.Options{Dir: t.TempDir(), Retain: 10}); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if pids := s.PIDs(); len(pids) < 2 {
		t.Errorf("processes %v, want a primary and a worker", pids)
	}
	if _, ok := s.Follow(system.SSE); ok {
		t.Error("Follow(SSE) is supported, want not")
	}
	follow, ok := s.Follow(system.WebSocket)
	if !ok {
		t.Fatal("Follow(WebSocket) is not supported")
	}
	conn, err := net.Dial("tcp", follow.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", follow.Path)
	readUntil(t, conn, `"pingInterval"`)
	sendText(t, conn, "40")
	readUntil(t, conn, `40{"sid"`)
	sendText(t, conn, `42["join","lobby"]`)
	readUntil(t, conn, `42["joined"`)

	p := s.Publish()
	url := "http://" + p.Addr + strings.ReplaceAll(p.Path, "{room}", "lobby")
	answer, err := http.Post(url, "application/json", strings.NewReader(strings.ReplaceAll(p.Body, "{data}", `"hello"`)))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Errorf("publish: status %s, want 201", answer.Status)
	}
	readUntil(t, conn, `42["event","hello"`)

	s.Stop()
	if pids := s.PIDs(); len(pids) > 0 {
		t.Errorf("processes after Stop: %v, want none", pids)
	}
	s.Stop() // a second Stop does nothing
}

// sendText sends a short text frame with a zero mask.
func sendText(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)); err != nil {
		t.Fatal(err)
	}
}

// readUntil reads until the received bytes contain text.
func readUntil(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	heard := make([]byte, 0, 1<<12)
	for !strings.Contains(string(heard), text) {
		buffer := make([]byte, 1<<10)
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatalf("wait for %q, received %q: %v", text, heard, err)
		}
		heard = append(heard, buffer[:n]...)
	}
}
