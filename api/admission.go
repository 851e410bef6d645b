package api

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/limits"
)

// admit takes a seat for a connection that is to stay, before anything else is done
// for it. Whoever gets the seat sees to it that it is given back. A key is no user's: one
// that many machines share has as many connections as the node and addresses may.
func (s *Server) admit(c echo.Context) (*limits.Slot, error) {
	r := c.Request()
	seat, err := s.opts.ConnectionLimiter.Acquire(r.Context(), s.proxies.Client(r), s.grant(c).User())
	if limit := seatLimit(err); limit != "" {
		s.metrics.hit(limit, 1)
	}
	return seat, err
}

// seatLimit names the limit that err is about, as the metrics do; "" for none.
func seatLimit(err error) string {
	switch {
	case errors.Is(err, limits.ErrNodeFull):
		return limitNode
	case errors.Is(err, limits.ErrAddressFull):
		return limitAddress
	case errors.Is(err, limits.ErrUserFull):
		return limitUser
	}
	return ""
}

// closeAtOnce upgrades a request, for a browser's page learns nothing of an answer that
// does not, and closes the socket, for the reason err. Nothing is kept for the client.
func (s *Server) closeAtOnce(c echo.Context, err error) {
	if errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler) // nobody is there
	}
	s.problems.LogFailure(err)
	p := s.problems.Document(err)
	visitOf(c).refused(p.Code)
	bye := websocket.FormatCloseMessage(websocket.CloseTryAgainLater, p.Code)
	w := &partingWriter{c.Response(), appendFrame(nil, websocket.CloseMessage, bye)}
	if ws, err := s.upgrader.Upgrade(w, c.Request(), nil); err == nil { // else it is answered, as far as it can be
		c.Response().Status = http.StatusSwitchingProtocols
		_ = ws.Close()
	}
}

// A partingWriter gives whoever takes its connection over a partingConn.
type partingWriter struct {
	http.ResponseWriter
	bye []byte
}

// Hijack implements http.Hijacker.
func (w *partingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return &partingConn{conn, w.bye}, rw, err
}

// A partingConn says good-bye in one piece with the handshake: what a client says next
// meets a connection that is closed, and is answered with a reset, which on some systems
// would take from the client what it has not read by then.
type partingConn struct {
	net.Conn
	bye []byte
}

// Write implements net.Conn. It is called once.
func (c *partingConn) Write(handshake []byte) (int, error) {
	n, err := c.Conn.Write(slices.Concat(handshake, c.bye))
	return min(n, len(handshake)), err
}
