package api

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
)

const (
	// headerRequestID carries the id of a request, by which it is found in the logs of all
	// servers that it passes.
	headerRequestID = "X-Request-Id"
	// maxRequestID bounds an id that a client sends, in bytes.
	maxRequestID = 128
	// maxLoggedPath bounds the path in the access log, in bytes.
	maxLoggedPath = 512
)

// An accessRecord is the access log's line about a request. It implements conn.Recorder. A
// nil accessRecord stands for no access log; its methods do nothing.
//
// It belongs to the request's handler, and then to the task of the connection if it is
// taken over.
type accessRecord struct {
	log   *slog.Logger
	start time.Time

	id     string
	route  string // the router's pattern
	method string
	path   string // without the query, which may contain a credential
	client string // address
	user   string // "" for an unknown one

	status int
	code   string // of the problem that the request was refused with, or why the connection has ended
	bytes  int64
	events int
}

// setGrant notes the holder of the request's grant.
func (a *accessRecord) setGrant(g *access.Grant) {
	if a != nil {
		a.user = g.Holder()
	}
}

// header returns the header with the request's id, for the answer to an upgrade.
func (a *accessRecord) header() http.Header {
	if a == nil {
		return nil
	}
	return http.Header{headerRequestID: {a.id}}
}

// EndReason implements conn.Recorder. It also notes the problem that a request was refused
// with.
func (a *accessRecord) EndReason(code string) {
	if a != nil && a.code == "" {
		a.code = code
	}
}

// Wrote implements conn.Recorder.
func (a *accessRecord) Wrote(bytes, events int) {
	a.bytes += int64(bytes)
	a.events += events
}

// answered writes the record of a request that was answered.
func (a *accessRecord) answered(r *echo.Response) {
	if a != nil {
		a.status, a.bytes = r.Status, r.Size
		a.write()
	}
}

// Ended implements conn.Recorder.
func (a *accessRecord) Ended(status int) {
	a.status = status
	a.write(slog.Int("events", a.events))
}

func (a *accessRecord) write(more ...slog.Attr) {
	attrs := append([]slog.Attr{
		slog.String("method", a.method), slog.String("route", a.route), slog.String("path", a.path),
		slog.Int("status", a.status), slog.Int64("bytes", a.bytes),
		slog.Float64("seconds", time.Since(a.start).Seconds()),
		slog.String("client", a.client), slog.String("user", a.user), slog.String("request", a.id),
	}, more...)
	if a.code != "" {
		attrs = append(attrs, slog.String("code", a.code))
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}

// requestID returns the id that the client has given the request, or a random one.
func requestID(r *http.Request) string {
	if id := r.Header.Get(headerRequestID); validRequestID(id) {
		return id
	}
	return strconv.FormatUint(rand.Uint64(), 36) // distinguishes requests and need not be secret
}

// validRequestID reports whether an id is safe in a log and in a header.
func validRequestID(id string) bool {
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
