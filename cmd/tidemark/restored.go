package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/streams/redislog"
)

type restoredCmd struct {
	Data string `default:"./tidemark-data" placeholder:"DIR" group:"log" help:"Directory of the embedded log (default ${default})."`
	redisFlags
}

func (restoredCmd) Help() string {
	return `After a log was brought back from a copy, clients may hold cursors of events that are gone, and miss others. This tells the log: from then on it vouches for nothing before this moment, and every client that comes back with an older cursor gets a gap notice, "reset", and loads its state anew. Nothing is deleted.

Run it before the nodes are started. It is not needed for a Redis that was restored while nodes ran: they notice.

    tidemark restored --data ./tidemark-data
    tidemark restored --redis redis://localhost:6379`
}

func (c *restoredCmd) Run(std stdio) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := c.tell(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(std.out, "every cursor from before now will get a gap notice")
	return err
}

func (c *restoredCmd) tell() error {
	quiet := slog.New(slog.DiscardHandler)
	if c.Redis == "" {
		return embedded.MarkRestored(c.Data, embedded.Options{Logger: quiet})
	}
	redis.SetLogger(redisLogger{quiet})
	ctx, stop := interruptible()
	defer stop()
	opt := c.options()
	opt.Logger = quiet
	log, err := redislog.Open(ctx, opt)
	if err != nil {
		return err
	}
	return errors.Join(log.MarkRestored(ctx), log.Close())
}
