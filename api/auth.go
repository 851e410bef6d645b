package api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/peers"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/sse"
)

const (
	// tokenQuery is the query parameter for a credential: an EventSource cannot set
	// headers.
	tokenQuery = "access_token"
	// bearerProtocol is the prefix of the subprotocol for a credential: a browser's
	// WebSocket cannot set headers either.
	bearerProtocol = "tidemark.bearer."
)

// An authenticator finds out what each request may do.
type authenticator struct {
	verifier     *access.Verifier // nil: every request may do everything
	unrestricted *access.Grant    // of every request without a verifier
	cookie       string           // "" for none
	origins      *origins
	sse          *sse.Server // to reject streams
}

// identify gives a request its grant, once. It refuses a request without a credential,
// except on the routes of isOpen: a new route is closed unless it is listed there.
func (a *authenticator) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		inQuery := takeToken(r)
		if a.verifier == nil {
			setGrant(c, a.unrestricted)
			if !isOpen(c) && !isSafe(r.Method) && !a.origins.allowPage(r) {
				return problem.ErrOrigin // otherwise any page that a user visits could publish
			}
			return next(c)
		}
		if isOpen(c) {
			return next(c)
		}
		g, err := a.grantFor(r, inQuery)
		if err != nil {
			if errors.Is(err, access.ErrUnavailable) && r.Method == http.MethodGet && accepts(r, mediaSSE) {
				a.sse.Reject(c.Response(), recorderOf(c), err) // a browser does not reconnect after a 503
			}
			return err
		}
		setGrant(c, g)
		peers.ConnOf(r.Context()).Identified()
		recordOf(c).setGrant(g)
		return next(c)
	}
}

func setGrant(c echo.Context, g *access.Grant) {
	if x, ok := c.(*exchange); ok {
		x.grant = g
	}
}

// isOpen reports whether a request needs no credential: liveness and readiness without
// details, the console without its data, OPTIONS, and addresses that do not exist.
func isOpen(c echo.Context) bool {
	switch c.Path() {
	case "", "/", "/console/*":
		return true
	case "/livez", "/readyz":
		return !wantsDetail(c)
	}
	return c.Request().Method == http.MethodOptions
}

func isSafe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// grantFor returns what the credential of a request allows.
func (a *authenticator) grantFor(r *http.Request, inQuery string) (*access.Grant, error) {
	credential := explicitCredential(r, inQuery)
	if credential == "" && a.cookie != "" {
		if cookie, err := r.Cookie(a.cookie); err == nil && cookie.Value != "" {
			if !a.origins.allowCookie(r) {
				return nil, problem.ErrOrigin
			}
			credential = cookie.Value
		}
	}
	if credential == "" {
		return nil, problem.ErrUnauthorized
	}
	return a.verifier.Verify(r.Context(), credential)
}

// explicitCredential returns the credential that the client has put into the request itself;
// "" for none. A cookie does not count: the browser adds it.
func explicitCredential(r *http.Request, inQuery string) string {
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

// takeToken removes the credential from the request's URL and returns it, so that it cannot
// get into a log.
func takeToken(r *http.Request) (token string) {
	if q := r.URL.RawQuery; !strings.Contains(q, "token") && !strings.Contains(q, "%") {
		return "" // the usual case: no token, and no encoded spelling of it
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

// administer wraps a handler for callers with the scope to administer the node.
func administer(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := problem.Authorize(grantOf(c), access.Administer, ""); err != nil {
			return err
		}
		return h(c)
	}
}
