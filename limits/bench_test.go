package limits_test

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/tests/redistest"
)

// BenchmarkTake measures the cost of a rate limit per publish: locally with an existing
// bucket, locally with a new one, and in Redis.
func BenchmarkTake(b *testing.B) {
	rate := parse(b, "1000000/s")
	var logged bytes.Buffer
	client := redis.NewClient(&redis.Options{Addr: redistest.Start(b).Addr()})
	defer client.Close()
	local, shared := limits.NewLocalLimiter(rate), limits.NewSharedLimiter(client, "tidemark", "bench", rate, logger(&logged))
	b.Run("local", func(b *testing.B) {
		for b.Loop() {
			local.Take(b.Context(), "ann", 1, 1)
		}
	})
	b.Run("local/callers=many", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			local.Take(b.Context(), strconv.Itoa(i), 1, 1)
		}
	})
	b.Run("shared", func(b *testing.B) {
		for b.Loop() {
			shared.Take(b.Context(), "ann", 1, 1)
		}
	})
	if logged.Len() > 0 {
		b.Error(logged.String())
	}
}
