package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// pageSize is how many events to request at once. It is the server's maximum.
const pageSize = 1000

// History is the history command.
type History struct {
	remote
	Room   room   `arg:"" help:"Room to read."`
	After  string `placeholder:"ID" help:"Print only events after this id."`
	Before string `placeholder:"ID" help:"Print only events before this id."`
	Limit  int    `placeholder:"N" help:"Print at most N events (default: all events in the log)."`
	Newest bool   `help:"Print the newest event first."`
	JSON   bool   `name:"json" help:"Print one JSON object per line."`
}

// Help returns the text of --help below the usage line.
func (History) Help() string {
	return `Prints the events that the log keeps of a room, the oldest first. It reads as many pages as needed.

    tidemark history lobby --newest --limit 10      the newest ten
    tidemark history lobby --json > lobby.jsonl     everything, one event per line
    tidemark history lobby --after 01KAJ3Q8Z0000000000000000G`
}

// Run prints the events.
func (c *History) Run(std cli.Stdio) error {
	if c.Limit < 0 {
		return cli.UsageError("--limit: want 1 or more")
	}
	truncated, err := c.printAll(context.Background(), eventPrinter{cli.NewPrinter(std, c.JSON)})
	if err != nil {
		return advise(err)
	}
	if truncated {
		fmt.Fprintln(std.Err, "tidemark: some of the requested events are missing, because the log no longer has them")
	}
	return nil
}

// historyPage is one answer of the server.
type historyPage struct {
	Events    []event `json:"events"`
	Next      string  `json:"next"`
	Truncated bool    `json:"truncated"`
}

// printAll prints page after page. truncated reports whether the log no longer has some of
// the requested events.
func (c *History) printAll(ctx context.Context, p eventPrinter) (truncated bool, err error) {
	server, query := c.client(), c.query()
	for left := c.Limit; ; {
		query.Set("limit", strconv.Itoa(c.nextLimit(left)))
		var page historyPage
		if err := server.get(ctx, server.url(query, "v1", "rooms", string(c.Room), "events"), &page); err != nil {
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
		query.Set(c.pageParameter(), page.Next)
	}
}

// nextLimit returns how many events to request if left are still wanted.
func (c *History) nextLimit(left int) int {
	if c.Limit == 0 {
		return pageSize
	}
	return min(left, pageSize)
}

// pageParameter names the query parameter that selects the next page.
func (c *History) pageParameter() string {
	if c.Newest {
		return "before"
	}
	return "after"
}

func (c *History) query() url.Values {
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
