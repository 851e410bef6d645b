package client

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// Tail is the tail command.
type Tail struct {
	remote
	Room  room  `arg:"" help:"Room to follow."`
	Since since `xor:"start" placeholder:"WHERE" help:"Where to start: earliest, an id (start after it), a time (RFC 3339) or a duration back (15m, 2d). Default: now."`
	Last  int   `xor:"start" placeholder:"N" help:"Start with the newest N events."`
	JSON  bool  `name:"json" help:"Print one JSON object per line: events as in history, gap notices as {\"gap\":{…}}."`
}

// Help returns the text of --help below the usage line.
func (Tail) Help() string {
	return `Follows a room until Ctrl-C. When the connection breaks or the server stops, tail reconnects with the last id it received and prints exactly the events it missed. If events may be missing (the retention limit dropped them, or the log lost data), a gap line appears in their place.

Events go to standard output, messages about the connection to standard error.

    tidemark tail lobby                     new events only
    tidemark tail lobby --last 10           the newest ten, then new events
    tidemark tail lobby --since 15m         the last 15 minutes, then new events
    tidemark tail lobby --since earliest    everything in the log, then new events
    tidemark tail lobby --json | jq .data`
}

// Run follows the room until a signal or a permanent error.
func (c *Tail) Run(std cli.Stdio) error {
	if c.Last < 0 {
		return cli.UsageError("--last: want 1 or more")
	}
	ctx, stop := cli.SignalContext()
	defer stop()
	t := &tailer{
		client: c.client(), room: string(c.Room), start: url.Values{}, wait: defaultWait,
		print: eventPrinter{cli.NewPrinter(std, c.JSON)},
		say:   func(format string, args ...any) { fmt.Fprintf(std.Err, "tidemark: "+format+"\n", args...) },
	}
	if c.Since != "" {
		t.start.Set("since", string(c.Since))
	}
	if c.Last > 0 {
		t.start.Set("last", strconv.Itoa(c.Last))
	}
	return advise(t.run(ctx))
}
