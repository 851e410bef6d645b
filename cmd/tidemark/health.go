package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// healthWait bounds the whole question: an answer that takes longer is no health.
const healthWait = 5 * time.Second

type healthCmd struct {
	remote
	Live bool `help:"Only ask whether the process answers, not whether its log does."`
}

func (healthCmd) Help() string {
	return `Exits with 0 when the node can serve, else with 1 and the reason: a health check for containers that hold nothing but this program.`
}

func (c *healthCmd) Run(std stdio) error {
	ctx, cancel := context.WithTimeout(context.Background(), healthWait)
	defer cancel()
	path := "readyz"
	if c.Live {
		path = "livez"
	}
	server := c.client()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.at(nil, path), nil)
	if err != nil {
		return err
	}
	res, err := server.do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = fmt.Fprintln(std.out, "ok")
	return err
}
