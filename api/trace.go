package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

// methods are those that a span may name: whatever else is sent as a method has no
// place in a list of spans.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// traceRequest makes a span of each request to the API, which goes on with the trace
// that the request is of. A traceparent that can't be read is as none. That of a stream
// or a socket is about its opening.
//
// Neither path nor query, no header and no body goes into a span: the path has the
// names of users, the query may have a token.
//
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
func (s *Server) traceRequest(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		if !strings.HasPrefix(c.Path(), "/v1/") {
			return next(c) // probes and pages
		}
		r := c.Request()
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := s.startRequest(ctx, r, c.Path())
		defer func() { // also where the handler breaks the connection off, by a panic
			if err != nil {
				p := problem.Of(fromEcho(err))
				endRequest(span, p.Status, p.Code)
			} else {
				endRequest(span, statusOf(c), "")
			}
		}()
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

// startRequest begins the span of a request to route.
func (s *Server) startRequest(ctx context.Context, r *http.Request, route string) (context.Context, trace.Span) {
	name, method := r.Method, r.Method
	if !slices.Contains(methods, method) {
		name, method = "HTTP", "_OTHER"
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return s.tracer.Start(ctx, name+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method),
		attribute.String("http.route", route),
		attribute.String("url.scheme", scheme),
		attribute.String("network.protocol.version", versionOf(r)),
	))
}

// versionOf returns the version of HTTP that a request came by, as spans call it.
func versionOf(r *http.Request) string {
	if r.ProtoMajor > 1 {
		return strconv.Itoa(r.ProtoMajor)
	}
	return fmt.Sprintf("%d.%d", r.ProtoMajor, r.ProtoMinor)
}

// opened ends the span of a request that is a stream from here on: over HTTP/2 its handler
// stays for as long as it lasts.
func (s *Server) opened(c echo.Context) {
	if s.tracer != nil {
		endRequest(trace.SpanFromContext(c.Request().Context()), http.StatusOK, "")
	}
}

// statusOf returns the status that a request which went well was answered with.
func statusOf(c echo.Context) int {
	if c.Path() == "/v1/ws" && !c.Response().Committed {
		return http.StatusSwitchingProtocols // which went past the response
	}
	return c.Response().Status
}

// endRequest ends the span of a request, and says how that went. code is the problem's;
// "" for none.
func endRequest(span trace.Span, status int, code string) {
	defer span.End()
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if code != "" {
		span.SetAttributes(attribute.String("tidemark.problem", code))
	}
	if status >= http.StatusInternalServerError {
		span.SetAttributes(attribute.String("error.type", strconv.Itoa(status)))
		span.SetStatus(codes.Error, "")
	}
}

// traceMessages makes a span of n messages of a WebSocket that publish, and are stored
// together. end is to be called with what came of them.
func (s *Server) traceMessages(ctx context.Context, n int) (_ context.Context, end func([]streams.Receipt)) {
	if s.tracer == nil || n == 0 {
		return ctx, func([]streams.Receipt) {}
	}
	ctx, span := s.tracer.Start(ctx, "publish", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("messaging.system", "tidemark"),
		attribute.String("messaging.operation.name", "publish"),
		attribute.String("messaging.operation.type", "send"),
		attribute.String("network.protocol.name", "websocket"),
		attribute.Int("messaging.batch.message_count", n),
	))
	return ctx, func(receipts []streams.Receipt) {
		defer span.End()
		for _, r := range receipts {
			if r.Err == nil {
				continue
			}
			if k := problem.KindOf(r.Err); k.Status >= http.StatusInternalServerError {
				span.SetAttributes(attribute.String("error.type", k.Code))
				span.SetStatus(codes.Error, "")
				return
			}
		}
	}
}
