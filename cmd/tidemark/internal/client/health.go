package client

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// healthWait bounds the whole check. A node that takes longer counts as unhealthy.
const healthWait = 5 * time.Second

// Health is the health command.
type Health struct {
	remote
	Live bool `help:"Check only that the process answers (/livez), not that it can serve (/readyz)."`
}

// Help returns the text of --help below the usage line.
func (Health) Help() string {
	return `Exits with 0 if the node can serve. Otherwise it prints the reason and exits with 1. Use it as the health check of a container that contains only this program.`
}

// Run asks the node.
func (c *Health) Run(std cli.Stdio) error {
	ctx, cancel := context.WithTimeout(context.Background(), healthWait)
	defer cancel()
	path := "readyz"
	if c.Live {
		path = "livez"
	}
	server := c.client()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.url(nil, path), nil)
	if err != nil {
		return err
	}
	res, err := server.do(r)
	if err != nil {
		return advise(err)
	}
	defer res.Body.Close()
	_, err = fmt.Fprintln(std.Out, "ok")
	return err
}
