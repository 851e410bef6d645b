package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// statusClientLeft is the status in metrics and logs of a request whose client left before the
// answer. Nothing is sent.
const statusClientLeft = 499

// clientLeft reports whether err only says that the client of r has left.
func clientLeft(r *http.Request, err error) bool {
	return errors.Is(err, context.Canceled) && r.Context().Err() != nil
}

// fromEcho translates the errors of the router.
func fromEcho(err error) error {
	var router *echo.HTTPError
	if !errors.As(err, &router) {
		return err
	}
	switch router.Code {
	case http.StatusNotFound:
		return problem.ErrNotFound
	case http.StatusMethodNotAllowed:
		return problem.ErrMethod
	}
	return err
}
