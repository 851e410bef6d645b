package api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
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
)

// identify finds out, once for each request, what it may do. Whoever shows no
// credential gets no further, but to what openTo names: a new route is closed until
// somebody opens it.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		inQuery := takeToken(r)
		if openTo(c) {
			return next(c)
		}
		if s.opts.Access == nil {
			if !safe(r.Method) && !s.fromPage(r) {
				return problem.ErrOrigin // any page that somebody looks at could publish here
			}
			return next(c)
		}
		g, err := s.grantFor(r, inQuery)
		if err != nil {
			if errors.Is(err, access.ErrUnavailable) && r.Method == http.MethodGet && accepts(r, mediaSSE) {
				s.sendAway(c, err) // a browser would never come back from a 503
			}
			return err
		}
		c.Set(grantKey, g)
		visitOf(c).by(g)
		return next(c)
	}
}

// openTo reports whether a request is for what anybody may have: whether the node
// lives and serves, the page without what it shows, what methods there are, and that there is
// nothing.
func openTo(c echo.Context) bool {
	switch c.Path() {
	case "", "/", "/console/*":
		return true
	case "/livez", "/readyz":
		return !verbose(c)
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
				return nil, problem.ErrOrigin
			}
			credential = cookie.Value
		}
	}
	if credential == "" {
		return nil, problem.ErrUnauthorized
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
	if q := r.URL.RawQuery; !strings.Contains(q, "token") && !strings.Contains(q, "%") {
		return "" // as most have none, and no other spelling of it
	}
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

// administer has h answer only those who may look at the node.
func (s *Server) administer(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := problem.Authorize(s.grant(c), access.Administer, ""); err != nil {
			return err
		}
		return h(c)
	}
}
