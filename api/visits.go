package api

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/clientip"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

const (
	// headerRequestID carries the name by which a request is known in the logs of all
	// that it passes.
	headerRequestID = "X-Request-Id"
	// maxRequestID bounds one that a client brings.
	maxRequestID = 128
	// maxLoggedPath bounds what the access log has of a path.
	maxLoggedPath = 512
)

// A visit is what the access log has of a request. There is none, a nil one, where
// there is no access log: its methods then do nothing.
//
// It belongs to the request's handler and then, where the connection stays, to the
// line's task.
type visit struct {
	log   *slog.Logger
	began time.Time

	id     string
	route  string // the router's pattern
	method string
	path   string // without the query, which may have a credential
	client string // address
	user   string // "" where nobody was asked or known

	status int
	code   string // of the problem that it was refused with, or why a connection has ended
	bytes  int64
	events int
}

// beginVisit returns the visit of a request that has come at began, and names it in the
// answer.
func (s *Server) beginVisit(c echo.Context, began time.Time) *visit {
	if s.opts.AccessLog == nil {
		return nil
	}
	r := c.Request()
	id := r.Header.Get(headerRequestID)
	if !saneRequestID(id) {
		id = strconv.FormatUint(rand.Uint64(), 36) // tells requests apart; no secret hangs on it
	}
	c.Response().Header().Set(headerRequestID, id)
	return &visit{
		log: s.opts.AccessLog, began: began, id: id,
		route: routeOf(c), method: methodOf(r), path: r.URL.Path[:min(len(r.URL.Path), maxLoggedPath)],
		client: clientip.Text(s.proxies.Client(r)),
	}
}

// saneRequestID reports whether a request's name may be written into a log and an
// answer.
func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '_', b == '.', b == ':', b == '/', b == '=', b == '+':
		default:
			return false
		}
	}
	return true
}

// visitOf returns the visit of a request, or nil.
func visitOf(c echo.Context) *visit {
	if x, ok := c.(*exchange); ok {
		return x.visit
	}
	return nil
}

// by notes whose request it is.
func (v *visit) by(g *access.Grant) {
	if v != nil {
		v.user = g.Holder()
	}
}

// header is what names the request in the answer to an upgrade, which does not take it
// from the response.
func (v *visit) header() http.Header {
	if v == nil {
		return nil
	}
	return http.Header{headerRequestID: {v.id}}
}

// refused notes the problem that a client was told of.
func (v *visit) refused(code string) {
	if v != nil {
		v.code = code
	}
}

// answered writes down a request that is answered.
func (v *visit) answered(c echo.Context) {
	if v == nil {
		return
	}
	v.status, v.bytes = c.Response().Status, c.Response().Size
	v.write()
}

// wrote notes what was written to a connection that stays.
func (v *visit) wrote(bytes int, carried load) {
	if v != nil {
		v.bytes += int64(bytes)
		v.events += carried.events
	}
}

// Why a connection has ended, in the access log, where it is no problem that its client
// was told of.
const (
	endedByClient = "client-left"  // the client has hung up, or its line has broken
	endedStuck    = "client-stuck" // the client did not take what it was sent, or answer pings
	endedByNode   = "cut"          // the node could not wait any longer
)

// hungUp notes that a connection is closed because of err, or because all is said.
func (v *visit) hungUp(err error) {
	if v == nil || v.code != "" {
		return
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		v.code = endedStuck
	case errors.Is(err, context.Canceled):
		v.code = endedByNode
	case errors.Is(err, problem.ErrInternal), errors.Is(err, streams.ErrClosed):
		v.code = problem.CodeOf(err)
	}
}

// ended writes down a connection that has ended. bye is the close frame that was
// written to a WebSocket, if one was.
func (l *line) ended(bye []byte) {
	v := l.visit
	switch {
	case v == nil:
		return
	case v.code != "":
	case l.server.cut.Err() != nil:
		v.code = endedByNode
	default:
		v.code = cmp.Or(codeOfClose(bye), endedByClient)
	}
	v.status = http.StatusOK
	if l.over == overWebSocket {
		v.status = http.StatusSwitchingProtocols
	}
	v.write(slog.Int("events", v.events))
}

// codeOfClose returns what a close frame says as a problem's code: "" where there is
// none, or it only answers the client's.
func codeOfClose(frame []byte) string {
	if len(frame) < 4 { // two of the frame's head, two of the code (RFC 6455, 5.5.1)
		return ""
	}
	switch code := int(binary.BigEndian.Uint16(frame[2:])); code {
	case websocket.CloseProtocolError, websocket.CloseUnsupportedData, websocket.CloseInvalidFramePayloadData, websocket.CloseMessageTooBig:
		return problem.CodeOf(problem.ErrMessage)
	case websocket.CloseNormalClosure, websocket.CloseGoingAway:
		return ""
	}
	return string(frame[4:]) // which is a code where the node has closed
}

func (v *visit) write(more ...slog.Attr) {
	attrs := append([]slog.Attr{
		slog.String("method", v.method), slog.String("route", v.route), slog.String("path", v.path),
		slog.Int("status", v.status), slog.Int64("bytes", v.bytes),
		slog.Float64("seconds", time.Since(v.began).Seconds()),
		slog.String("client", v.client), slog.String("user", v.user), slog.String("request", v.id),
	}, more...)
	if v.code != "" {
		attrs = append(attrs, slog.String("code", v.code))
	}
	v.log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}
