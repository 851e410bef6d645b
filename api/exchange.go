package api

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/peers"
)

// An exchange is a request and its answer, for the middleware and the handlers. (Storing
// these fields in the context's map instead costs one map per connection. With that garbage
// between the connections, a broadcast to 10,000 took a tenth longer.)
type exchange struct {
	echo.Context
	metrics   *requestMetrics
	record    *accessRecord // nil without an access log
	grant     *access.Grant // nil where no credential was asked for
	takenOver bool          // the connection goes on as a stream or WebSocket, which writes the record at its end
}

// count counts the exchange, which was answered with status.
func (x *exchange) count(status int) {
	x.metrics.answered.WithLabelValues(routeOf(x), methodOf(x.Request()), strconv.Itoa(status)).Inc()
}

// takeOver notes that the connection of c's request was taken over, after an answer with
// status.
func takeOver(c echo.Context, status int) {
	if x, ok := c.(*exchange); ok {
		x.takenOver = true
		peers.ConnOf(c.Request().Context()).BeginStream()
		x.count(status)
	}
}

// recordOf returns the access record of a request; nil without an access log.
func recordOf(c echo.Context) *accessRecord {
	if x, ok := c.(*exchange); ok {
		return x.record
	}
	return nil
}

// recorderOf is recordOf for package conn. It returns nil, not a nil *accessRecord.
func recorderOf(c echo.Context) conn.Recorder {
	if r := recordOf(c); r != nil {
		return r
	}
	return nil
}

// grantOf returns what a request may do; nil, which allows nothing, for a request that was
// not asked for a credential.
func grantOf(c echo.Context) *access.Grant {
	if x, ok := c.(*exchange); ok {
		return x.grant
	}
	return nil
}

// routeOf returns the router's pattern for a request, or "none".
func routeOf(c echo.Context) string {
	if path := c.Path(); path != "" {
		return path
	}
	return "none"
}

// methodOf returns the request's method, or "other" for an unusual one: clients may invent
// methods, and each would be a new series in the metrics.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return r.Method
	}
	return "other"
}
