package doctor

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/streams/redislog/internal/redisconn"
)

// An examination is one run of Examine. It never opens a log, which would create one.
type examination struct {
	opt        redislog.Options
	conn       *redisconn.Config
	client     redis.UniversalClient
	partitions []keys.Partition

	report    Report
	primaries map[string]*redis.Client // by host:port
	servers   []serverInfo             // of the primaries that answer
}

func newExamination(opt redislog.Options, conn *redisconn.Config) *examination {
	x := &examination{opt: opt, conn: conn, client: conn.NewClient(), primaries: map[string]*redis.Client{}}
	for id := range opt.Partitions {
		x.partitions = append(x.partitions, keys.New(opt.Prefix, streams.Partition(id), conn.Endpoint.DB))
	}
	return x
}

// ask runs one question within limit.
func ask[T any](ctx context.Context, limit time.Duration, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return question(ctx)
}
