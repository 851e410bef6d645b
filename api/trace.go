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

// spanMethods are the methods that a span may name: clients may invent others.
var spanMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// A requestTracer makes OpenTelemetry spans of requests. A nil requestTracer makes none.
type requestTracer struct{ tracer trace.Tracer }

// newRequestTracer returns nil for a nil provider.
func newRequestTracer(p trace.TracerProvider) *requestTracer {
	if p == nil {
		return nil
	}
	return &requestTracer{p.Tracer("github.com/tidemark/tidemark")}
}

// trace makes a span of each request to the API, a child of the span in its traceparent
// header. It ignores a malformed header. The span of a stream or WebSocket covers only its
// opening.
//
// A span contains no path, query, header or body: the path contains names of users, and the
// query may contain a token.
//
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
func (t *requestTracer) trace(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		if !strings.HasPrefix(c.Path(), "/v1/") {
			return next(c) // health checks and the console
		}
		r := c.Request()
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.startRequest(ctx, r, c.Path())
		defer func() { // also after a panic, by which a handler resets a stream
			if clientLeft(r, err) {
				endRequest(span, statusClientLeft, "")
			} else if err != nil {
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

// startRequest starts the span of a request to route.
func (t *requestTracer) startRequest(ctx context.Context, r *http.Request, route string) (context.Context, trace.Span) {
	name, method := r.Method, r.Method
	if !slices.Contains(spanMethods, method) {
		name, method = "HTTP", "_OTHER"
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return t.tracer.Start(ctx, name+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method),
		attribute.String("http.route", route),
		attribute.String("url.scheme", scheme),
		attribute.String("network.protocol.version", versionOf(r)),
	))
}

// versionOf returns the HTTP version of a request in the form that spans use.
func versionOf(r *http.Request) string {
	if r.ProtoMajor > 1 {
		return strconv.Itoa(r.ProtoMajor)
	}
	return fmt.Sprintf("%d.%d", r.ProtoMajor, r.ProtoMinor)
}

// opened ends the span of a request that has become a stream. Over HTTP/2 its handler returns
// only at the end of the stream.
func (t *requestTracer) opened(c echo.Context) {
	if t != nil {
		endRequest(trace.SpanFromContext(c.Request().Context()), http.StatusOK, "")
	}
}

// statusOf returns the status of the answer to a request that succeeded.
func statusOf(c echo.Context) int {
	if c.Path() == "/v1/ws" && !c.Response().Committed {
		return http.StatusSwitchingProtocols // the upgrader bypasses the response
	}
	return c.Response().Status
}

// endRequest ends the span of a request with the status of its answer and the code of its
// problem; "" for none.
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

// startMessages starts the span of n WebSocket messages whose events are stored together.
// The caller must call end with their receipts.
func (t *requestTracer) startMessages(ctx context.Context, n int) (_ context.Context, end func([]streams.Receipt)) {
	if t == nil || n == 0 {
		return ctx, func([]streams.Receipt) {}
	}
	ctx, span := t.tracer.Start(ctx, "publish", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
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
