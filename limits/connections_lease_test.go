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
	// patience bounds waits for what will come; it says nothing about speed.
	patience = 20 * time.Second
	// shortLease is the lease of nodes whose end is waited for.
	shortLease = time.Second
)

// prefixes tells the tests apart that share a Redis.
var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("test-%d", prefixes.Add(1)) }

// clientOf returns a client as the log has it: it repeats nothing, and heeds deadlines.
func clientOf(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true, DialTimeout: time.Second, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// open returns the Seats of a node, which ends with the test.
func open(t testing.TB, o limits.ConnectionOptions) *limits.ConnectionLimiter {
	t.Helper()
	s := limits.NewConnectionLimiter(o)
	t.Cleanup(s.Close)
	return s
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// A redisSet is what Redis knows of a user's connections.
type redisSet struct {
	rdb redis.UniversalClient
	key string
}

func setOf(rdb redis.UniversalClient, prefix, user string) redisSet {
	return redisSet{rdb, "{" + prefix + ":seats:" + user + "}"}
}

// len returns how many places are taken.
func (s redisSet) len() int {
	return int(s.rdb.ZCount(context.Background(), s.key, strconv.FormatInt(time.Now().UnixMilli(), 10), "+inf").Val())
}

// Two hundred who come at once to two nodes get five places between them, and when they
// have left nothing is kept of them.
func TestOneLimitForAllNodes(t *testing.T) {
	for round := range 20 {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			server := redistest.Shared(t)
			o := limits.ConnectionOptions{PerUser: 5, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()}
			nodes := []*limits.ConnectionLimiter{open(t, o), open(t, o)}
			set := setOf(server.Client(), o.Prefix, "ann")
			admitted := crowd(t, 200, nodes...)
			if len(admitted) != 5 || set.len() != 5 {
				t.Errorf("%d were admitted, and Redis knows of %d; want 5", len(admitted), set.len())
			}
			take(t, nodes[0], somewhere, "bob").Release()
			for _, seat := range admitted {
				seat.Release()
			}
			eventually(t, "Redis knows nobody", func() bool { return set.len() == 0 })
			take(t, nodes[1], somewhere, "ann").Release()
		})
	}
}

// The places of a node that ends in order are free at once, also of those who left while
// it was telling Redis of others.
func TestCloseGivesBack(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 2, Prefix: newPrefix()}
	set := setOf(server.Client(), o.Prefix, "ann")
	for range 20 { // a race: one round shows nothing
		rdb, gate := clientOf(t, server.Addr()), gate{asked: make(chan struct{}, 1), open: make(chan struct{})}
		rdb.AddHook(gate)
		o.Redis = rdb
		s := limits.NewConnectionLimiter(o)
		first, last := take(t, s, somewhere, "ann"), take(t, s, somewhere, "ann")
		first.Release()
		<-gate.asked
		last.Release()
		time.AfterFunc(time.Millisecond, func() { close(gate.open) })
		s.Close()
		if n := set.len(); n != 0 {
			t.Fatalf("Redis knows of %d", n)
		}
	}
}

// A gate holds pipelines up that give leases back, until it is open.
type gate struct{ asked, open chan struct{} }

func (g gate) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (g gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "zrem" { // not one that signs in
			select {
			case g.asked <- struct{}{}:
			default: // nobody looks any more
			}
			<-g.open
		}
		return next(ctx, cmds)
	}
}

// A lease is renewed for as long as its connection is there.
func TestLeasesAreRenewed(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 1, Redis: clientOf(t, server.Addr()), Prefix: newPrefix(), Lease: shortLease}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	seat := take(t, s, somewhere, "ann")
	ends := func() float64 {
		members, err := set.rdb.ZRangeWithScores(t.Context(), set.key, 0, -1).Result()
		if err != nil || len(members) != 1 {
			t.Fatalf("Redis knows of %v, %v; want one connection", members, err)
		}
		return members[0].Score
	}
	first := ends()
	eventually(t, "the lease has been renewed for two lives", func() bool { return ends() > first+2*float64(shortLease.Milliseconds()) })
	refused(t, open(t, o), somewhere, "ann", limits.ErrUserFull)
	if left := set.rdb.PTTL(t.Context(), set.key).Val(); left <= 0 || left > shortLease {
		t.Errorf("the set ends in %v, want at most %v", left, shortLease)
	}
	seat.Release()
	eventually(t, "Redis knows nobody", func() bool { return set.len() == 0 })
}

// In a child process these say which Redis, and what prefix.
const (
	childURL    = "TIDEMARK_TEST_REDIS_ADDR"
	childPrefix = "TIDEMARK_TEST_PREFIX"
)

// sitForEver is a node on which ann takes what she can get. It is killed.
func sitForEver() error {
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(childURL)})
	s := limits.NewConnectionLimiter(limits.ConnectionOptions{PerUser: 5, Redis: rdb, Prefix: os.Getenv(childPrefix), Lease: shortLease})
	for {
		_, err := s.Acquire(context.Background(), somewhere, "ann")
		if errors.Is(err, limits.ErrUserFull) {
			fmt.Println("full")
			select {}
		}
		if err != nil {
			return err
		}
	}
}

// The places of a node that was killed come free by themselves.
func TestKilledNode(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 5, Redis: clientOf(t, server.Addr()), Prefix: newPrefix(), Lease: shortLease}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	defer take(t, s, somewhere, "ann").Release() // so that the set goes on
	node := exec.Command(self)
	node.Env = append(os.Environ(), childURL+"="+server.Addr(), childPrefix+"="+o.Prefix)
	said, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer node.Wait()
	defer node.Process.Kill()
	if line, _ := bufio.NewReader(said).ReadString('\n'); line != "full\n" {
		t.Fatalf("the node says %q", line)
	}
	if n := set.len(); n != 5 {
		t.Fatalf("Redis knows of %d", n)
	}
	refused(t, s, somewhere, "ann", limits.ErrUserFull)
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		eventually(t, "there is a place again", func() bool {
			_, err := s.Acquire(t.Context(), somewhere, "ann")
			return err == nil
		})
	}
	refused(t, s, somewhere, "ann", limits.ErrUserFull)
}

// While Redis is away, what the node knows decides; when it is back, and has forgotten
// everything, it is told.
func TestRedisAway(t *testing.T) {
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
			seats := []*limits.Slot{take(t, s, somewhere, "ann")}
			gone := take(t, s, somewhere, "ann")
			outage.begin(server)
			seats = append(seats, take(t, s, somewhere, "ann"))
			refused(t, s, somewhere, "ann", limits.ErrUserFull)
			gone.Release()
			seats = append(seats, take(t, s, somewhere, "ann"))
			refused(t, s, somewhere, "ann", limits.ErrUserFull)
			outage.end(server)
			eventually(t, "Redis knows of all three, and the other node has no place", func() bool {
				seat, err := other.Acquire(t.Context(), somewhere, "ann")
				seat.Release() // it was the place of one that had left, or of one that Redis has not been told of yet
				return set.len() == 3 && errors.Is(err, limits.ErrUserFull)
			})
			for _, seat := range seats {
				seat.Release()
			}
			eventually(t, "Redis knows nobody", func() bool { return set.len() == 0 })
			take(t, other, somewhere, "ann").Release()
		})
	}
}

// What others have put where a set should be makes a limit that counts less, and not a
// node that serves nobody.
func TestNotASet(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 1, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	if err := set.rdb.Set(t.Context(), set.key, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	defer take(t, s, somewhere, "ann").Release()
	refused(t, s, somewhere, "ann", limits.ErrUserFull)
}

// A lease that ends later than any can was given by a clock that was ahead. Its place is
// free.
func TestClockThatWasAhead(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 1, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	ahead := float64(time.Now().Add(time.Hour).UnixMilli())
	if err := set.rdb.ZAdd(t.Context(), set.key, redis.Z{Score: ahead, Member: "dead:1"}).Err(); err != nil {
		t.Fatal(err)
	}
	take(t, s, somewhere, "ann").Release()
}

// A client that does not wait for Redis leaves nothing behind.
func TestClientThatLeaves(t *testing.T) {
	server := redistest.Shared(t)
	o := limits.ConnectionOptions{PerUser: 1000, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()}
	s, set := open(t, o), setOf(server.Client(), o.Prefix, "ann")
	var coming sync.WaitGroup
	for range 8 {
		coming.Go(func() {
			for range 250 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(300*time.Microsecond))
				seat, err := s.Acquire(ctx, somewhere, "ann")
				if cancel(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				seat.Release()
			}
		})
	}
	coming.Wait()
	if n := s.Held(); n != 0 {
		t.Errorf("%d seats are held", n)
	}
	eventually(t, "Redis knows nobody", func() bool { return set.len() == 0 })
}

// In a Cluster every user is in a slot of their own, and what is done for many users at
// once reaches each.
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
	var seats []*limits.Slot
	for _, u := range users {
		seats = append(seats, take(t, s, somewhere, u))
		refused(t, other, somewhere, u, limits.ErrUserFull)
		shards[cluster.Shard(cluster.Slot(setOf(rdb, o.Prefix, u).key))] = true
	}
	if len(shards) != 3 {
		t.Errorf("the users are in %d shards, want all 3", len(shards))
	}
	for _, n := range cluster.Nodes() {
		n.Flush()
	}
	eventually(t, "all are renewed", all(1))
	for _, seat := range seats {
		seat.Release()
	}
	eventually(t, "Redis knows nobody", all(0))
}

// BenchmarkAdmission is one connection that comes and goes.
func BenchmarkAdmission(b *testing.B) {
	server := redistest.Shared(b)
	s := open(b, limits.ConnectionOptions{PerUser: 5, Redis: clientOf(b, server.Addr()), Prefix: newPrefix()})
	for i := 0; b.Loop(); i++ {
		take(b, s, somewhere, strconv.Itoa(i%1000)).Release()
	}
}

// A Redis that answers for some users and not for others, as a Cluster does that has lost
// a master, costs no line of log for each connection.
func TestHalfARedis(t *testing.T) {
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
	s.Close() // after which nothing is written
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines of log, want 1:\n%s", n, log.String())
	}
}

// Whoever closes a connection and opens another at once, as a page does that is loaded
// again, finds the place of the first free.
func TestSeatTakenAgainAtOnce(t *testing.T) {
	server := redistest.Shared(t)
	s := open(t, limits.ConnectionOptions{PerUser: 1, Redis: clientOf(t, server.Addr()), Prefix: newPrefix()})
	for range 200 {
		seat, err := s.Acquire(t.Context(), netip.Addr{}, "ann")
		if err != nil {
			t.Fatal(err)
		}
		seat.Release()
	}
}
