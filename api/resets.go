package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/peers"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/sse"
)

// countResets counts the requests that clients reset before the answer. The end of a stream
// or WebSocket is not one. Only HTTP/2 lets a client reset a request and keep the connection.
func countResets(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().ProtoMajor < 2 {
			return next(c)
		}
		defer func() { // also after a panic, by which a handler resets a stream
			ctx := c.Request().Context()
			x, ok := c.(*exchange)
			switch {
			case ok && x.takenOver:
				peers.ConnOf(ctx).EndStream()
			case ctx.Err() != nil:
				peers.ConnOf(ctx).Reset()
			}
		}()
		return next(c)
	}
}

// limitStrangers refuses requests on an HTTP/2 connection that has many open ones and has
// shown no valid credential.
func limitStrangers(sse *sse.Server) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if !peers.IsCrowded(r.Context()) {
				return next(c)
			}
			if r.Method == http.MethodGet && accepts(r, mediaSSE) {
				sse.Reject(c.Response(), recorderOf(c), problem.ErrStreams) // a browser does not reconnect after a 429
			}
			return problem.ErrStreams
		}
	}
}
