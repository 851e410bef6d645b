package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/streams"
)

const (
	// tokenQuery is the query's member that carries a credential, for an EventSource
	// can't set headers.
	tokenQuery = "access_token"
	// bearerProtocol starts the subprotocol that carries one, for a browser's
	// WebSocket can't either.
	bearerProtocol = "tidemark.bearer."
	// grantKey is where a request's grant is kept.
	grantKey = "tidemark.grant"
	// preflightAge is for how long a browser remembers what other origins may ask
	// for, in seconds.
	preflightAge = 600
)

// identify finds out, once for each request, what it may do. Whoever shows no
// credential gets no further, but to what openTo names: a new route is closed until
// somebody opens it.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		inQuery := ""
		if r.URL.RawQuery != "" {
			inQuery = takeToken(r)
		}
		if openTo(c) {
			return next(c)
		}
		if s.opts.Access == nil {
			if !safe(r.Method) && !s.fromPage(r) {
				return errOrigin // any page that somebody looks at could publish here
			}
			return next(c)
		}
		g, err := s.grantFor(r, inQuery)
		if err != nil {
			if errors.Is(err, access.ErrUnavailable) && accepts(r, mediaSSE) {
				s.sendAway(c.Response(), err) // a browser would never come back from a 503
			}
			return err
		}
		c.Set(grantKey, g)
		return next(c)
	}
}

// openTo reports whether a request is for what anybody may have: whether the node
// lives, the page without what it shows, what methods there are, and that there is
// nothing.
func openTo(c echo.Context) bool {
	switch c.Path() {
	case "", "/livez", "/readyz", "/", "/console/*":
		return true
	}
	return c.Request().Method == http.MethodOptions
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// grantFor returns what the credential of a request allows.
func (s *Server) grantFor(r *http.Request, inQuery string) (*access.Grant, error) {
	credential := shown(r, inQuery)
	if credential == "" && s.opts.Cookie != "" {
		if cookie, err := r.Cookie(s.opts.Cookie); err == nil && cookie.Value != "" {
			if !s.mayUseCookie(r) {
				return nil, errOrigin
			}
			credential = cookie.Value
		}
	}
	if credential == "" {
		return nil, errUnauthorized
	}
	return s.opts.Access.Verify(r.Context(), credential)
}

// shown returns the credential that a client has put into its request on purpose, or
// "".
func shown(r *http.Request, inQuery string) string {
	const scheme = "bearer "
	if h := r.Header.Get(echo.HeaderAuthorization); len(h) > len(scheme) && strings.EqualFold(h[:len(scheme)], scheme) {
		return strings.TrimSpace(h[len(scheme):])
	}
	if inQuery != "" {
		return inQuery
	}
	if websocket.IsWebSocketUpgrade(r) {
		for _, p := range websocket.Subprotocols(r) {
			if token, ok := strings.CutPrefix(p, bearerProtocol); ok {
				return token
			}
		}
	}
	return ""
}

// takeToken takes the credential out of the request's address, and returns it: what is
// not there any more can't be logged.
func takeToken(r *http.Request) (token string) {
	var kept []string
	found := false
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); err != nil || name != tokenQuery {
			kept = append(kept, part)
			continue
		}
		found = true
		if v, err := url.QueryUnescape(value); err == nil && token == "" {
			token = v
		}
	}
	if found {
		r.URL.RawQuery = strings.Join(kept, "&")
		r.RequestURI = r.URL.RequestURI()
	}
	return token
}

// grant returns what the request may do.
func (s *Server) grant(c echo.Context) *access.Grant {
	if s.opts.Access == nil {
		return s.unrestricted
	}
	g, _ := c.Get(grantKey).(*access.Grant) // none where nobody was asked for one: that allows nothing
	return g
}

// allow refuses what g does not allow. Every way to an event asks it.
func allow(g *access.Grant, action access.Action, room streams.Room) error {
	switch {
	case g.Allows(action, room):
		return nil
	case g != nil && g.Expired():
		return errExpired
	}
	return fmt.Errorf("%w: %v %s", errForbidden, action, room)
}

// administer has h answer only those who may look at the node.
func (s *Server) administer(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := allow(s.grant(c), access.Administer, ""); err != nil {
			return err
		}
		return h(c)
	}
}

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
		},
		ExposeHeaders:    []string{headerReplayed, echo.HeaderRetryAfter, echo.HeaderWWWAuthenticate},
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
