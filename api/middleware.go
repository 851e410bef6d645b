package api

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// recoverPanic answers a request whose handler panicked, and keeps the program running.
func recoverPanic(problems *problem.Reporter) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			defer func() {
				switch p := recover(); p {
				case nil:
				case http.ErrAbortHandler:
					panic(p) // resets the connection or stream on purpose
				default:
					problems.LogPanic(p)
					err = fmt.Errorf("%w: panic", problem.ErrInternal)
				}
			}()
			return next(c)
		}
	}
}

// limitHeader refuses requests whose line and headers together exceed most bytes.
func limitHeader(most int) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			size := len(r.RequestURI)
			for name, values := range r.Header {
				for _, v := range values {
					size += len(name) + len(v)
				}
			}
			if size > most {
				return fmt.Errorf("%w: %d bytes, want at most %d", problem.ErrHeader, size, most)
			}
			return next(c)
		}
	}
}

// noSniff makes browsers trust the Content-Type of an answer.
func noSniff(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderXContentTypeOptions, "nosniff")
		return next(c)
	}
}
