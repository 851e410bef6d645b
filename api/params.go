package api

import (
	"fmt"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/streams"
)

// roomParam returns the room in the path.
func roomParam(c echo.Context) (streams.Room, error) {
	name, err := pathParam(c, "room")
	if err != nil {
		return "", err
	}
	return streams.ParseRoom(name)
}

// pathParam returns a parameter of the path, decoded once. The router has decoded it unless
// the client used an unusual encoding.
func pathParam(c echo.Context, name string) (string, error) {
	v := c.Param(name)
	if c.Request().URL.RawPath == "" {
		return v, nil
	}
	v, err := url.PathUnescape(v)
	if err != nil {
		return "", fmt.Errorf("%w: %v", streams.ErrRoom, err)
	}
	return v, nil
}
