package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// preflightAge is how long a browser caches the answer to a preflight request, in seconds.
const preflightAge = 600

// ParseOrigin reads an element of Options.Origins: an origin such as
// https://app.example.com, or "*" for all origins.
func ParseOrigin(text string) (string, error) {
	u, err := url.Parse(text)
	if text == "*" {
		return text, nil
	}
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.String() != u.Scheme+"://"+u.Host || strings.Contains(u.Host, "*") {
		return "", fmt.Errorf("%.80q is not an origin: want one like https://app.example.com", text)
	}
	return strings.ToLower(text), nil
}

// origins decide which pages may use the server.
type origins struct {
	list   []string // as ParseOrigin returns them
	cookie bool     // a cookie may carry a credential
}

// listed reports whether an origin is in the list by name.
func (o *origins) listed(origin string) bool {
	for _, listed := range o.list {
		if strings.EqualFold(listed, origin) {
			return true
		}
	}
	return false
}

// allow reports whether pages of another origin may use the server.
func (o *origins) allow(origin string) bool { return o.listed(origin) || o.listed("*") }

// allowPage reports whether the page that sent a request may use the server: a page of the
// server's own origin or of an allowed one. A request without an origin comes from no page.
func (o *origins) allowPage(r *http.Request) bool {
	origin := r.Header.Get(echo.HeaderOrigin)
	return origin == "" || isOwnOrigin(r, origin) || o.allow(origin)
}

// allowCookie is allowPage for a request with a cookie, which the browser adds by itself.
// "*" does not suffice. If the browser sends no origin, Sec-Fetch-Site must not name another
// site.
func (o *origins) allowCookie(r *http.Request) bool {
	if origin := r.Header.Get(echo.HeaderOrigin); origin != "" {
		return isOwnOrigin(r, origin) || o.listed(origin)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}

// isOwnOrigin reports whether origin is the one that the request was sent to.
func isOwnOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// cors lets pages of the allowed origins use the server.
func (o *origins) cors() echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOriginFunc: func(origin string) (bool, error) { return o.allow(origin), nil },
		AllowMethods:    []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowHeaders: []string{
			echo.HeaderAccept, echo.HeaderAuthorization, echo.HeaderCacheControl, echo.HeaderContentType, headerKey, "Last-Event-ID",
			"Traceparent", "Tracestate",
		},
		ExposeHeaders: []string{
			headerReplayed, echo.HeaderRetryAfter, echo.HeaderWWWAuthenticate, headerRateLimit, headerRateLimitPolicy, headerRequestID,
		},
		AllowCredentials: o.cookie && !o.listed("*"),
		MaxAge:           preflightAge,
	})
}
