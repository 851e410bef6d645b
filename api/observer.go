package api

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/clientip"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
)

// An observer counts requests and writes the access log. Its middleware runs before all
// others, so that it also sees the requests that they refuse.
type observer struct {
	metrics   *requestMetrics
	accessLog *slog.Logger // nil for none
	proxies   clientip.Proxies
	problems  *problem.Reporter
	answers   answers
}

// observe answers the errors of the handlers, counts each request when it is answered, and
// writes its access record.
func (o *observer) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		x := &exchange{Context: c, metrics: o.metrics, record: o.newRecord(c, start)}
		defer func() { // also after a panic, by which a handler resets a stream
			if x.takenOver {
				return
			}
			x.count(c.Response().Status)
			o.metrics.seconds.WithLabelValues(routeOf(c), methodOf(c.Request())).Observe(time.Since(start).Seconds())
			x.record.answered(c.Response())
		}()
		if err := next(x); err != nil {
			o.answerError(err, x)
		}
		return nil
	}
}

// answerError answers a request with the problem that err is. It is echo's error handler. If
// the client has left, it panics with http.ErrAbortHandler, which ends the connection.
func (o *observer) answerError(err error, c echo.Context) {
	err = fromEcho(err)
	switch {
	case clientLeft(c.Request(), err):
		o.problems.LogFailure(err)
		recordOf(c).EndReason(conn.ClientLeft)
		c.Response().Status = statusClientLeft
		panic(http.ErrAbortHandler)
	case grantOf(c) == nil:
		o.problems.LogUnauthenticated(err)
	default:
		o.problems.LogFailure(err)
	}
	p := o.problems.Document(err)
	recordOf(c).EndReason(p.Code)
	if c.Response().Committed {
		return
	}
	o.answers.write(c, p.Status, p.Prepare(c.Response().Header()))
}

// newRecord returns the access record of a request that arrived at start, and puts the
// request's id into the answer. It returns nil without an access log.
func (o *observer) newRecord(c echo.Context, start time.Time) *accessRecord {
	if o.accessLog == nil {
		return nil
	}
	r := c.Request()
	id := requestID(r)
	c.Response().Header().Set(headerRequestID, id)
	return &accessRecord{
		log: o.accessLog, start: start, id: id,
		route: routeOf(c), method: methodOf(r), path: r.URL.Path[:min(len(r.URL.Path), maxLoggedPath)],
		client: clientip.Text(o.proxies.Client(r)),
	}
}
