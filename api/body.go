package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// maxFirstRead bounds the memory, in bytes, that a Content-Length alone can make the server
// allocate.
const maxFirstRead = 8 << 10

// readBody returns the request's JSON body of at most limit bytes. It waits at most
// Options.BodyTimeout for the client.
func (p *publisher) readBody(c echo.Context, limit int) ([]byte, error) {
	r, w := c.Request(), c.Response().Writer
	if err := checkJSON(r.Header); err != nil {
		return nil, err
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(p.opts.BodyTimeout)) // not every writer supports deadlines
	stop := context.AfterFunc(p.life.cut, func() { _ = control.SetReadDeadline(time.Now()) })
	defer stop()
	var body bytes.Buffer
	// With the right size from the start, a small body is read without copying. For a large
	// one the memory grows as it arrives.
	body.Grow(int(min(max(r.ContentLength, 0), maxFirstRead)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, int64(limit)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fmt.Errorf("%w: want at most %d bytes", problem.ErrBodyTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: it ended early or took too long", problem.ErrBody)
	}
	// From here on net/http watches the connection, and takes a deadline for its end.
	_ = control.SetReadDeadline(time.Time{})
	return body.Bytes(), nil
}

// checkJSON refuses a body with a Content-Type other than JSON. None at all is accepted.
func checkJSON(h http.Header) error {
	contentType := h.Get(echo.HeaderContentType)
	if contentType == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return fmt.Errorf("%w: %.80q, want application/json", problem.ErrMediaType, contentType)
	}
	return nil
}
