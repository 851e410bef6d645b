package limits_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/tests/redistest"
)

const (
	// waitLimit bounds every wait for a condition. It is not a claim about speed.
	waitLimit = 20 * time.Second
	// shortLease is the lease in tests that wait for one to expire.
	shortLease = time.Second
)

// prefixes makes the keys of tests that share a Redis different.
var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("test-%d", prefixes.Add(1)) }

// clientOf returns a client with the log's settings: no retries, and deadlines honoured.
func clientOf(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true, DialTimeout: time.Second, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// open returns the ConnectionLimiter of a node. It is closed with the test.
func open(t testing.TB, o limits.ConnectionOptions) *limits.ConnectionLimiter {
	t.Helper()
	l := limits.NewConnectionLimiter(o)
	t.Cleanup(l.Close)
	return l
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(waitLimit)
	for !cond() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", waitLimit, what)
		}
	}
}

// A redisSet is the set of a user's connections in Redis.
type redisSet struct {
	rdb redis.UniversalClient
	key string
}

func setOf(rdb redis.UniversalClient, prefix, user string) redisSet {
	return redisSet{rdb, "{" + prefix + ":seats:" + user + "}"}
}

// len returns the number of leases that have not expired.
func (s redisSet) len() int {
	return int(s.rdb.ZCount(context.Background(), s.key, strconv.FormatInt(time.Now().UnixMilli(), 10), "+inf").Val())
}

// Of 200 connections that arrive at two nodes at once, five are admitted. After they have
// closed, nothing of them remains in Redis.
func TestOneLimitForAllNodes(t *testing.T) {
	for round := range 20 {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			server := redistest.Shared(t)
			o := limits.ConnectionOptions{PerUser: 5, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()}
			nodes := []*limits.ConnectionLimiter{open(t, o), open(t, o)}
			set := setOf(server.Client(), o.Prefix, "ann")
			admitted := acquireAtOnce(t, 200, nodes...)
			if len(admitted) != 5 || set.len() != 5 {
				t.Errorf("%d were admitted, and Redis has %d; want 5", len(admitted), set.len())
			}
			acquire(t, nodes[0], anAddress, "bob").Release()
			for _, slot := range admitted {
				slot.Release()
			}
			eventually(t, "the set in Redis is empty", func() bool { return set.len() == 0 })
			acquire(t, nodes[1], anAddress, "ann").Release()
		})
	}
}

// Close removes all released slots from Redis, also those released during another removal.
func TestCloseRemovesReleasedSlots(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 2, Prefix: newPrefix()}
	set := setOf(server.Client(), o.Prefix, "ann")
	for range 20 { // one round may miss the race
		rdb, gate := clientOf(t, server.Addr()), gate{reached: make(chan struct{}, 1), open: make(chan struct{})}
		rdb.AddHook(gate)
		o.Redis = rdb
		s := limits.NewConnectionLimiter(o)
		first, last := acquire(t, s, anAddress, "ann"), acquire(t, s, anAddress, "ann")
		first.Release()
		<-gate.reached
		last.Release()
		time.AfterFunc(time.Millisecond, func() { close(gate.open) })
		s.Close()
		if n := set.len(); n != 0 {
			t.Fatalf("Redis has %d connections", n)
		}
	}
}

// A gate blocks pipelines that remove leases until it is open.
type gate struct{ reached, open chan struct{} }

func (g gate) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (g gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "zrem" { // not the connection's handshake
			select {
			case g.reached <- struct{}{}:
			default: // the test no longer waits
			}
			<-g.open
		}
		return next(ctx, cmds)
	}
}

// A lease is renewed for as long as its connection exists.
func TestLeasesAreRenewed(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 1, Redis: clientOf(t, server.Addr()), Prefix: newPrefix(), Lease: shortLease}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	slot := acquire(t, s, anAddress, "ann")
	ends := func() float64 {
		members, err := set.rdb.ZRangeWithScores(t.Context(), set.key, 0, -1).Result()
		if err != nil || len(members) != 1 {
			t.Fatalf("Redis has %v, %v; want one connection", members, err)
		}
		return members[0].Score
	}
	first := ends()
	eventually(t, "the lease has been renewed beyond two lease lengths", func() bool { return ends() > first+2*float64(shortLease.Milliseconds()) })
	mustRefuse(t, open(t, o), anAddress, "ann", limits.ErrUserFull)
	if left := set.rdb.PTTL(t.Context(), set.key).Val(); left <= 0 || left > shortLease {
		t.Errorf("the set ends in %v, want at most %v", left, shortLease)
	}
	slot.Release()
	eventually(t, "the set in Redis is empty", func() bool { return set.len() == 0 })
}

// These environment variables give a child process its Redis and its prefix.
const (
	childAddr   = "TIDEMARK_TEST_REDIS_ADDR"
	childPrefix = "TIDEMARK_TEST_PREFIX"
)

// holdConnections is a node on which ann acquires all slots. Its process is killed.
func holdConnections() error {
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(childAddr)})
	s := limits.NewConnectionLimiter(limits.ConnectionOptions{PerUser: 5, Redis: rdb, Prefix: os.Getenv(childPrefix), Lease: shortLease})
	for {
		_, err := s.Acquire(context.Background(), anAddress, "ann")
		if errors.Is(err, limits.ErrUserFull) {
			fmt.Println("full")
			select {}
		}
		if err != nil {
			return err
		}
	}
}

// The slots of a killed node become free when their leases expire.
func TestKilledNode(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 5, Redis: clientOf(t, server.Addr()), Prefix: newPrefix(), Lease: shortLease}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	defer acquire(t, s, anAddress, "ann").Release() // keeps the set alive
	node := exec.Command(self)
	node.Env = append(os.Environ(), childAddr+"="+server.Addr(), childPrefix+"="+o.Prefix)
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer node.Wait()
	defer node.Process.Kill()
	if text, _ := bufio.NewReader(stdout).ReadString('\n'); text != "full\n" {
		t.Fatalf("the node prints %q", text)
	}
	if n := set.len(); n != 5 {
		t.Fatalf("Redis has %d connections", n)
	}
	mustRefuse(t, s, anAddress, "ann", limits.ErrUserFull)
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		eventually(t, "a slot is free again", func() bool {
			_, err := s.Acquire(t.Context(), anAddress, "ann")
			return err == nil
		})
	}
	mustRefuse(t, s, anAddress, "ann", limits.ErrUserFull)
}

// During an outage of Redis the node's own counts decide. Afterwards the node adds its
// connections to Redis again, even if Redis has lost all data.
func TestRedisOutage(t *testing.T) {
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed":  {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"stopped": {(*redistest.Server).Pause, (*redistest.Server).Resume},
		"flushed": {(*redistest.Server).Flush, func(*redistest.Server) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartProcess(t)
			o := limits.ConnectionOptions{PerUser: 3, Redis: clientOf(t, server.Addr()), Prefix: newPrefix(), Lease: 2 * shortLease}
			s, other := open(t, o), open(t, o)
			set := setOf(clientOf(t, server.Addr()), o.Prefix, "ann")
			slots := []*limits.Slot{acquire(t, s, anAddress, "ann")}
			gone := acquire(t, s, anAddress, "ann")
			outage.begin(server)
			slots = append(slots, acquire(t, s, anAddress, "ann"))
			mustRefuse(t, s, anAddress, "ann", limits.ErrUserFull)
			gone.Release()
			slots = append(slots, acquire(t, s, anAddress, "ann"))
			mustRefuse(t, s, anAddress, "ann", limits.ErrUserFull)
			outage.end(server)
			eventually(t, "Redis has all three, and the other node refuses", func() bool {
				slot, err := other.Acquire(t.Context(), anAddress, "ann")
				slot.Release() // Redis still had a free slot
				return set.len() == 3 && errors.Is(err, limits.ErrUserFull)
			})
			for _, slot := range slots {
				slot.Release()
			}
			eventually(t, "the set in Redis is empty", func() bool { return set.len() == 0 })
			acquire(t, other, anAddress, "ann").Release()
		})
	}
}

// If another program's value is under the key of a set, the node decides by its own counts
// and still serves the user.
func TestForeignValueUnderKey(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 1, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	if err := set.rdb.Set(t.Context(), set.key, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	defer acquire(t, s, anAddress, "ann").Release()
	mustRefuse(t, s, anAddress, "ann", limits.ErrUserFull)
}

// A lease that ends later than possible was granted by a clock that was ahead. It does not
// count.
func TestClockWasAhead(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 1, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	ahead := float64(time.Now().Add(time.Hour).UnixMilli())
	if err := set.rdb.ZAdd(t.Context(), set.key, redis.Z{Score: ahead, Member: "dead:1"}).Err(); err != nil {
		t.Fatal(err)
	}
	acquire(t, s, anAddress, "ann").Release()
}

// A client that stops waiting for Redis leaves no lease behind.
func TestClientStopsWaiting(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 1000, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	var arriving sync.WaitGroup
	for range 8 {
		arriving.Go(func() {
			for range 250 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(300*time.Microsecond))
				slot, err := s.Acquire(ctx, anAddress, "ann")
				if cancel(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				slot.Release()
			}
		})
	}
	arriving.Wait()
	if n := s.Held(); n != 0 {
		t.Errorf("%d slots are held", n)
	}
	eventually(t, "the set in Redis is empty", func() bool { return set.len() == 0 })
}

// In a Cluster users are distributed over all shards, and renewals of many users reach
// each.
func TestCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, &redistest.ClusterOptions{NoReplicas: true})
	var addrs []string
	for _, n := range cluster.Nodes() {
		addrs = append(addrs, n.Addr())
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, MaxRetries: -1, ContextTimeoutEnabled: true})
	defer rdb.Close()
	o := limits.ConnectionOptions{PerUser: 1, Redis: rdb, Prefix: newPrefix(), Lease: shortLease}
	s, other := limits.NewConnectionLimiter(o), limits.NewConnectionLimiter(o)
	defer s.Close()
	defer other.Close()

	users := []string{"a}b", "{x}", "}", "two words", "\x00\xff", strings.Repeat("long", 1000)}
	for i := range 50 {
		users = append(users, fmt.Sprint("user", i))
	}
	all := func(want int) func() bool {
		return func() bool {
			for _, u := range users {
				if setOf(rdb, o.Prefix, u).len() != want {
					return false
				}
			}
			return true
		}
	}
	shards := map[int]bool{}
	var slots []*limits.Slot
	for _, u := range users {
		slots = append(slots, acquire(t, s, anAddress, u))
		mustRefuse(t, other, anAddress, u, limits.ErrUserFull)
		shards[cluster.Shard(cluster.Slot(setOf(rdb, o.Prefix, u).key))] = true
	}
	if len(shards) != 3 {
		t.Errorf("the users are in %d shards, want all 3", len(shards))
	}
	for _, n := range cluster.Nodes() {
		n.Flush()
	}
	eventually(t, "all leases are renewed", all(1))
	for _, slot := range slots {
		slot.Release()
	}
	eventually(t, "the set in Redis is empty", all(0))
}

// BenchmarkAdmission measures one connection that opens and closes, with Redis.
func BenchmarkAdmission(b *testing.B) {
	server := redistest.Shared(b)
	s := open(b, limits.ConnectionOptions{PerUser: 5, Redis: clientOf(b, server.Addr()), Prefix: newPrefix()})
	for i := 0; b.Loop(); i++ {
		acquire(b, s, anAddress, strconv.Itoa(i%1000)).Release()
	}
}

// A Redis that answers for some users only, as a Cluster does that has lost a primary, does
// not cause a log line per connection.
func TestPartialOutageLogsOnce(t *testing.T) {
	server := redistest.Shared(t)
	rdb, prefix := clientOf(t, server.Addr()), newPrefix()
	var log bytes.Buffer
	s := open(t, limits.ConnectionOptions{PerUser: 100, Redis: rdb, Prefix: prefix, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := rdb.Set(t.Context(), setOf(rdb, prefix, "lost").key, "no set", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		for _, user := range []string{"lost", "found"} {
			if _, err := s.Acquire(t.Context(), netip.Addr{}, user); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Close() // the log is complete afterwards
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines of log, want 1:\n%s", n, log.String())
	}
}

// A client that closes a connection and opens another at once, as a reloaded page does,
// finds the slot of the first one free.
func TestSlotIsFreeAtOnce(t *testing.T) {
	server := redistest.Shared(t)
	s := open(t, limits.ConnectionOptions{PerUser: 1, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()})
	for range 200 {
		slot, err := s.Acquire(t.Context(), netip.Addr{}, "ann")
		if err != nil {
			t.Fatal(err)
		}
		slot.Release()
	}
}
