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

// takenOver is the size of a response whose connection stays: it is not known yet, and
// not to the response.
const takenOver = -1

// stays notes that the connection of c's request stays, and with which status it was
// answered. (A value in c would cost a map for each connection, of just the size of a
// follower: with the garbage between them, a broadcast to 10,000 took a tenth longer.)
func stays(c echo.Context, status int) {
	r := c.Response()
	r.Committed, r.Status, r.Size = true, status, takenOver
}

// observe counts each request when it is answered, and writes it down where there is an
// access log. It comes before all that may refuse a request.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		v := s.beginVisit(c, began)
		defer func() { // also where a stream is broken off, which is a panic
			route, method := routeOf(c), methodOf(c.Request())
			r := c.Response()
			if r.Size != takenOver {
				s.metrics.requests.seconds.WithLabelValues(route, method).Observe(time.Since(began).Seconds())
				v.answered(c)
			}
			s.metrics.requests.answered.WithLabelValues(route, method, strconv.Itoa(r.Status)).Inc()
		}()
		if err := next(c); err != nil {
			s.refuse(err, c)
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
