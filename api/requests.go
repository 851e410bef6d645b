package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// requestMetrics count requests by the router's patterns, never by what clients write:
// there are as many series as there are routes, and not as there are rooms.
type requestMetrics struct {
	answered *prometheus.CounterVec   // route, method, status
	seconds  *prometheus.HistogramVec // route, method
}

func newRequestMetrics() requestMetrics {
	return requestMetrics{
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_http_requests_total",
			Help: "Requests answered, by route, method and status. A stream counts when it begins.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidemark_http_request_seconds",
			Help:    "How long requests took to be answered, by route and method. Streams and WebSockets are left out.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method"}),
	}
}

// An exchange is a request and its answer, as observe sees them. (To keep these in the
// context's map costs a map for each connection, of just the size of a follower: with the
// garbage between them, a broadcast to 10,000 took a tenth longer.)
type exchange struct {
	echo.Context
	metrics *requestMetrics
	visit   *visit // nil without an access log
	stayed  bool   // the connection stays: it is counted, and written down when it has ended
}

// count counts the exchange, which was answered with status.
func (x *exchange) count(status int) {
	x.metrics.answered.WithLabelValues(routeOf(x), methodOf(x.Request()), strconv.Itoa(status)).Inc()
}

// stays notes that the connection of c's request stays, and with which status it was
// answered.
func stays(c echo.Context, status int) {
	if x, ok := c.(*exchange); ok {
		x.stayed = true
		x.count(status)
	}
}

// observe counts each request when it is answered, and writes it down where there is an
// access log. It comes before all that may refuse a request.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		x := &exchange{Context: c, metrics: &s.metrics.requests, visit: s.beginVisit(c, began)}
		defer func() { // also where a stream is broken off, which is a panic
			if x.stayed {
				return
			}
			x.count(c.Response().Status)
			s.metrics.requests.seconds.WithLabelValues(routeOf(c), methodOf(c.Request())).Observe(time.Since(began).Seconds())
			x.visit.answered(c)
		}()
		if err := next(x); err != nil {
			s.answerError(err, x)
		}
		return nil
	}
}

// routeOf returns the pattern that the router has found for a request, or "none".
func routeOf(c echo.Context) string {
	if path := c.Path(); path != "" {
		return path
	}
	return "none"
}

// methodOf returns the request's method, or "other": any word can be one.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return r.Method
	}
	return "other"
}
