package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// preflightAge is for how long a browser remembers what other origins may ask for, in
// seconds.
const preflightAge = 600

// ParseOrigin reads the origin of pages, such as https://app.example.com, or "*" for
// all.
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

// listed reports whether an origin is named in Options.Origins.
func (s *Server) listed(origin string) bool {
	for _, o := range s.opts.Origins {
		if strings.EqualFold(o, origin) {
			return true
		}
	}
	return false
}

// welcome reports whether pages of another origin may use the server.
func (s *Server) welcome(origin string) bool { return s.listed(origin) || s.listed("*") }

// fromPage reports whether a request comes from a page that may make it: one of the
// server's own origin, or one that is welcome. What names no origin comes from no page.
func (s *Server) fromPage(r *http.Request) bool {
	origin := r.Header.Get(echo.HeaderOrigin)
	return origin == "" || own(r, origin) || s.welcome(origin)
}

// mayUseCookie is fromPage for what a browser sends by itself: being one of all
// origins is not enough, and a browser that leaves the origin out has to say that the
// page is the server's.
func (s *Server) mayUseCookie(r *http.Request) bool {
	if origin := r.Header.Get(echo.HeaderOrigin); origin != "" {
		return own(r, origin) || s.listed(origin)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}

// own reports whether origin is the one that the request was sent to.
func own(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// crossOrigin lets pages of the origins that are welcome use the server (CORS).
func (s *Server) crossOrigin() echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOriginFunc: func(origin string) (bool, error) { return s.welcome(origin), nil },
		AllowMethods:    []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowHeaders: []string{
			echo.HeaderAccept, echo.HeaderAuthorization, echo.HeaderCacheControl, echo.HeaderContentType, headerKey, "Last-Event-ID",
			"Traceparent", "Tracestate",
		},
		ExposeHeaders: []string{
			headerReplayed, echo.HeaderRetryAfter, echo.HeaderWWWAuthenticate, headerRateLimit, headerRateLimitPolicy, headerRequestID,
		},
		AllowCredentials: s.opts.Cookie != "" && !s.listed("*"),
		MaxAge:           preflightAge,
	})
}

// neverSniff has browsers take what they get for what it says it is.
func neverSniff(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderXContentTypeOptions, "nosniff")
		return next(c)
	}
}
