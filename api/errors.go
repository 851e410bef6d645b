package api

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/problem"
)

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
