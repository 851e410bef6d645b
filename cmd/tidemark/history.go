package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
)

// pageSize is how many events are asked for at once: the most a server gives.
const pageSize = 1000

type historyCmd struct {
	remote
	Room   room   `arg:"" help:"Room to read."`
	After  string `placeholder:"ID" help:"Only events after this one."`
	Before string `placeholder:"ID" help:"Only events before this one."`
	Limit  int    `placeholder:"N" help:"At most N events (default: all that are kept)."`
	Newest bool   `help:"Newest first."`
	JSON   bool   `name:"json" help:"One JSON object on a line."`
}

func (historyCmd) Help() string {
	return `Prints the room's events, the oldest first, reading as many pages as it takes.

    tidemark history lobby --newest --limit 10      the newest ten
    tidemark history lobby --json > lobby.jsonl     all of it, one event on a line
    tidemark history lobby --after 01KAJ3Q8Z0000000000000000G`
}

func (c *historyCmd) Run(std stdio) error {
	if c.Limit < 0 {
		return usageError("--limit: want 1 or more")
	}
	truncated, err := c.printAll(context.Background(), newPrinter(std, c.JSON))
	if err != nil {
		return err
	}
	if truncated {
		fmt.Fprintln(std.err, "tidemark: some events that were asked for are no longer kept")
	}
	return nil
}

// historyPage is the server's answer.
type historyPage struct {
	Events    []event `json:"events"`
	Next      string  `json:"next"`
	Truncated bool    `json:"truncated"`
}

// printAll prints page after page, and reports whether the log lacks events that
// were asked for.
func (c *historyCmd) printAll(ctx context.Context, p *printer) (truncated bool, err error) {
	server, query := c.client(), c.query()
	for left := c.Limit; ; {
		query.Set("limit", strconv.Itoa(c.next(left)))
		var page historyPage
		if err := server.get(ctx, server.at(query, "v1", "rooms", string(c.Room), "events"), &page); err != nil {
			return truncated, err
		}
		truncated = truncated || page.Truncated
		for _, e := range page.Events {
			if err := p.event(e); err != nil {
				return truncated, err
			}
		}
		left -= len(page.Events)
		if page.Next == "" || c.Limit > 0 && left <= 0 {
			return truncated, nil
		}
		query.Set(c.bound(), page.Next)
	}
}

// next returns how many events to ask for when left are wanted.
func (c *historyCmd) next(left int) int {
	if c.Limit == 0 {
		return pageSize
	}
	return min(left, pageSize)
}

// bound names the parameter that moves from page to page.
func (c *historyCmd) bound() string {
	if c.Newest {
		return "before"
	}
	return "after"
}

func (c *historyCmd) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"after": c.After, "before": c.Before} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if c.Newest {
		query.Set("order", "desc")
	}
	return query
}
