package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// consolePage returns a handler for the console. A page that console does not have becomes a
// problem document, like everywhere else, instead of console's own line of text or redirect.
func consolePage(console http.Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		w := &consoleWriter{ResponseWriter: c.Response()}
		console.ServeHTTP(w, c.Request())
		if w.missing {
			clear(c.Response().Header())
			return problem.ErrNotFound
		}
		return nil
	}
}

// A consoleWriter withholds an answer that says the page does not exist, or redirects.
type consoleWriter struct {
	http.ResponseWriter
	missing bool
}

// WriteHeader implements http.ResponseWriter.
func (w *consoleWriter) WriteHeader(status int) {
	switch status {
	case http.StatusNotFound, http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		w.missing = true
	default:
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w *consoleWriter) Write(b []byte) (int, error) {
	if w.missing {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}
