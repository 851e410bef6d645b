package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// servePage serves the console. What it does not have is a problem, as everywhere
// else: its own answer would be a line of text, or the way to a cleaner address.
func (s *Server) servePage(c echo.Context) error {
	w := &foundWriter{ResponseWriter: c.Response()}
	s.opts.Console.ServeHTTP(w, c.Request())
	if w.missing {
		clear(c.Response().Header())
		return problem.ErrNotFound
	}
	return nil
}

// A foundWriter keeps to itself that there is nothing, or only somewhere else.
type foundWriter struct {
	http.ResponseWriter
	missing bool
}

// WriteHeader implements http.ResponseWriter.
func (w *foundWriter) WriteHeader(status int) {
	switch status {
	case http.StatusNotFound, http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		w.missing = true
	default:
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w *foundWriter) Write(b []byte) (int, error) {
	if w.missing {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}
