package limits_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/tests/redistest"
)

// shared returns the SharedLimiter of one more node.
func shared(t *testing.T, addr, rate string, logged *bytes.Buffer) *limits.SharedLimiter {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return limits.NewSharedLimiter(client, "tidemark", "test", parse(t, rate), logger(logged))
}

func logger(to *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(to, nil)) }

// Nodes share one bucket. Concurrent calls get all of its tokens and not one more.
func TestSharedRate(t *testing.T) {
	r := redistest.Start(t)
	var logged bytes.Buffer
	a, b := shared(t, r.Addr(), "1/h,10", &logged), shared(t, r.Addr(), "1/h,10", &logged)
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		for _, node := range []*limits.SharedLimiter{a, b} {
			all.Go(func() { taken.Add(int64(node.Take(t.Context(), "ann", 1, 1).Granted)) })
		}
	}
	all.Wait()
	if n := taken.Load(); n != 10 {
		t.Errorf("%d tokens of a bucket of 10", n)
	}
	got := b.Take(t.Context(), "ann", 1, 1)
	if got.Granted != 0 || got.Remaining != 0 || got.RetryAfter < 59*time.Minute || got.RetryAfter > time.Hour || got.ResetAfter < 9*time.Hour {
		t.Errorf("an empty bucket: %+v", got)
	}
	if got := b.Take(t.Context(), "bob", 10, 10); got.Granted != 10 || got.Remaining != 0 || got.RetryAfter != 0 {
		t.Errorf("another's bucket: %+v", got)
	}
	if logged.Len() > 0 {
		t.Error(logged.String())
	}
}

// Take grants a part if minimum allows it, and otherwise all or nothing.
func TestSharedRateGrantsPart(t *testing.T) {
	r := redistest.Start(t)
	var logged bytes.Buffer
	b := shared(t, r.Addr(), "1/h,10", &logged)
	for _, tt := range []struct{ n, minimum, taken, left int }{
		{3, 3, 3, 7}, {8, 8, 0, 7}, {7, 7, 7, 0}, {1, 1, 0, 0},
	} {
		if got := b.Take(t.Context(), "all", tt.n, tt.minimum); got.Granted != tt.taken || got.Remaining != tt.left || (got.RetryAfter > 0) != (tt.taken == 0) {
			t.Errorf("%d: %+v", tt.n, got)
		}
	}
	for _, tt := range []struct{ n, taken, left int }{{4, 4, 6}, {50, 6, 0}, {50, 0, 0}} {
		if got := b.Take(t.Context(), "some", tt.n, 1); got.Granted != tt.taken || got.Remaining != tt.left || (got.RetryAfter > 0) != (tt.taken < tt.n) {
			t.Errorf("up to %d: %+v", tt.n, got)
		}
	}
	if logged.Len() > 0 {
		t.Error(logged.String())
	}
}

// Peek tells how many tokens are left for all nodes, and takes none. Without Redis it tells
// how many this node would grant.
func TestSharedPeek(t *testing.T) {
	r := redistest.Start(t)
	var logged bytes.Buffer
	a, b := shared(t, r.Addr(), "1/h,3", &logged), shared(t, r.Addr(), "1/h,3", &logged)
	for left := 3; left >= 0; left-- {
		for range 2 {
			got := b.Peek(t.Context(), "ann")
			if got.Granted != 0 || got.Remaining != left || (got.RetryAfter > 0) != (left == 0) || (got.ResetAfter > 0) != (left < 3) {
				t.Errorf("with %d tokens: %+v", left, got)
			}
		}
		a.Take(t.Context(), "ann", 1, 1)
	}
	if got := b.Peek(t.Context(), "ann"); got.RetryAfter < 59*time.Minute || got.RetryAfter > time.Hour {
		t.Errorf("an empty bucket: %+v", got)
	}
	if logged.Len() > 0 {
		t.Error(logged.String())
	}
	r.Pause()
	defer r.Resume()
	if got := b.Peek(t.Context(), "ann"); got.Remaining != 3 || got.RetryAfter != 0 {
		t.Errorf("without Redis: %+v", got)
	}
}

// Keys start like the log's keys, contain a hash tag for a Cluster, stay short for a long
// name, and expire.
func TestSharedRateKeys(t *testing.T) {
	r := redistest.Start(t)
	var logged bytes.Buffer
	b := shared(t, r.Addr(), "1/s,2", &logged)
	b.Take(t.Context(), "ann", 1, 1)
	b.Take(t.Context(), strings.Repeat("n", 10_000), 1, 1)
	client := redis.NewClient(&redis.Options{Addr: r.Addr()})
	defer client.Close()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "{tidemark:limit:test:") || !strings.HasSuffix(key, "}") || len(key) > 200 {
			t.Errorf("key %s", key)
		}
		if life, err := client.PTTL(t.Context(), key).Result(); err != nil || life <= 0 || life > 2*time.Second {
			t.Errorf("%s expires in %v, %v", key, life, err)
		}
	}
}

// While Redis does not answer, the node counts for itself and logs one warning.
func TestSharedRateWithoutRedis(t *testing.T) {
	r := redistest.Start(t)
	var logged bytes.Buffer
	b := shared(t, r.Addr(), "1/h,3", &logged)
	b.Take(t.Context(), "ann", 3, 3)
	r.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, want := range []int{1, 1, 1, 0} {
		if got := b.Take(ctx, "ann", 1, 1); got.Granted != want {
			t.Errorf("%d: %+v", i, got)
		}
	}
	if n := strings.Count(logged.String(), "counts for itself"); n != 1 {
		t.Errorf("logged %d times: %s", n, &logged)
	}
	r.Resume()
	if got := b.Take(t.Context(), "ann", 1, 1); got.Granted != 0 {
		t.Errorf("Redis has lost the bucket: %+v", got)
	}
}

// In a Cluster each bucket is on the shard of its key.
func TestSharedRateInCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, nil)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{cluster.Primary(0).Addr()}, ContextTimeoutEnabled: true})
	defer client.Close()
	var logged bytes.Buffer
	b := limits.NewSharedLimiter(client, "tidemark", "test", parse(t, "1/h,2"), logger(&logged))
	for caller := range strings.FieldsSeq("ann bob eve a}b {} key") {
		if got := b.Take(t.Context(), caller, 3, 1); got.Granted != 2 {
			t.Errorf("%s: %+v", caller, got)
		}
	}
	if logged.Len() > 0 {
		t.Error(logged.String())
	}
}
