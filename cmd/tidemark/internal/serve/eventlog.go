package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/streams/redislog"
)

// eventLogFlags set where the embedded log is and what a log keeps.
type eventLogFlags struct {
	Data     string                   `default:"./tidemark-data" placeholder:"DIR" group:"log" help:"Directory of the embedded log; unused with --redis (default ${default})."`
	Retain   []settings.RetentionRule `sep:";" placeholder:"PATTERN=EVENTS,AGE" group:"log" help:"How many events the log keeps of each room that matches, and for how long, such as 'chat.*=5000,7d'. With 0 events the log keeps nothing and the room is live only. Repeatable (in the environment: separated by ';'); the first match counts. Default: the newest 1,000 events, for 24h."`
	KeyLife  settings.Age             `default:"24h" placeholder:"AGE" group:"log" help:"How long the log remembers an idempotency key, with which a publisher repeats a publish safely. A repeat after that stores a second event (default ${default})."`
	TailLife settings.Age             `default:"30d" placeholder:"AGE" group:"log" help:"How long the log remembers a room's last id after the room's events have expired (default ${default})."`
}

func (f *eventLogFlags) retention() []service.RetentionRule {
	rules := make([]service.RetentionRule, len(f.Retain))
	for i, r := range f.Retain {
		rules[i] = service.RetentionRule(r)
	}
	return rules
}

// checkEmbedded checks the settings of the embedded log.
func (f *eventLogFlags) checkEmbedded(durability streams.Durability) error {
	if durability == streams.Replicated {
		return cli.UsageError("--durability replicated: the embedded log does not have replicas: use --redis, or another durability")
	}
	return checkDirectory(f.Data)
}

// checkDirectory refuses a name if it is not a directory and can't become one.
func checkDirectory(name string) error {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("--data: %s is not a directory: choose another name", name)
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("--data: %w", err)
	}
	if parent := filepath.Dir(name); parent != name {
		return checkDirectory(parent)
	}
	return nil
}

func (f *eventLogFlags) openEmbedded(logger *slog.Logger) (streams.Log, error) {
	log, err := embedded.Open(f.Data, embedded.Options{
		KeyLife: time.Duration(f.KeyLife), TailLife: time.Duration(f.TailLife),
		Logger: logger,
	})
	if err != nil {
		return nil, settings.DataError(f.Data, err) // not log: a nil pointer in an interface is not nil
	}
	return log, nil
}

func openRedis(ctx context.Context, opt redislog.Options) (streams.Log, error) {
	settings.LogRedisTo(opt.Logger)
	log, err := redislog.Open(ctx, opt)
	if err != nil {
		return nil, err // not log: a nil pointer in an interface is not nil
	}
	return log, nil
}
