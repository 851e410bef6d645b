package admin

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/streams/redislog"
)

// Restored is the restored command.
type Restored struct {
	Data string `default:"./tidemark-data" placeholder:"DIR" group:"log" help:"Directory of the embedded log; unused with --redis (default ${default})."`
	settings.RedisFlags
}

// Help returns the text of --help below the usage line.
func (Restored) Help() string {
	return `Run this after you have restored a log from a backup, and before you start the nodes. Clients may hold cursors of events that the backup does not contain, and may miss other events. The command marks the log: it vouches for nothing before this moment. Every client with an older cursor then receives a gap notice with the reason "reset", so that it can reload its state. The command deletes nothing.

A Redis that you restore while nodes are running does not need it: the nodes notice.

    tidemark restored --data ./tidemark-data
    tidemark restored --redis redis://localhost:6379`
}

// Run marks the log as restored.
func (c *Restored) Run(std cli.Stdio) error {
	if err := c.Check(); err != nil {
		return err
	}
	if err := c.mark(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(std.Out, "the log is marked as restored: start the nodes; clients with older cursors will get a gap notice")
	return err
}

func (c *Restored) mark() error {
	quiet := slog.New(slog.DiscardHandler)
	if c.Redis == "" {
		if err := embedded.MarkRestored(c.Data, embedded.Options{Logger: quiet}); err != nil {
			return settings.DataError(c.Data, err)
		}
		return nil
	}
	settings.LogRedisTo(quiet)
	ctx, stop := cli.SignalContext()
	defer stop()
	opt := c.Options()
	opt.Logger = quiet
	log, err := redislog.Open(ctx, opt)
	if err != nil {
		return err
	}
	return errors.Join(log.MarkRestored(ctx), log.Close())
}
