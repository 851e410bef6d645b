package redistest

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/tests/internal/cutproxy"
)

// ahead returns how far the server's clock is ahead of this machine's.
func ahead(t *testing.T, s *Server) time.Duration {
	t.Helper()
	now, err := s.Client().Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return time.Until(now).Round(time.Minute)
}

// A clock moves while the server runs, and keeps its offset over a restart.
func TestClockSteps(t *testing.T) {
	s := StartWithClock(t)
	for _, step := range []struct{ by, want time.Duration }{
		{0, 0}, {-time.Hour, -time.Hour}, {3 * time.Hour, 2 * time.Hour},
	} {
		s.StepClock(step.by)
		if got := ahead(t, s); got != step.want {
			t.Errorf("after a step of %v the clock is %v ahead, want %v", step.by, got, step.want)
		}
	}
	s.Kill()
	s.Restart()
	if got := ahead(t, s); got != 2*time.Hour {
		t.Errorf("after a restart the clock is %v ahead", got)
	}
	pid := s.b.(*processServer).cmd.Process.Pid
	s.Kill()
	if left, err := os.ReadDir("/dev/shm"); err == nil {
		for _, f := range left {
			if strings.HasSuffix(f.Name(), "_"+strconv.Itoa(pid)) {
				t.Errorf("%s is left behind", f.Name())
			}
		}
	}
}

// A replica has the data of its primary, and receives new data.
func TestReplicaFollows(t *testing.T) {
	primary := StartProcess(t)
	client := primary.Client()
	client.Set(t.Context(), "before", "1", 0)
	replica := StartReplica(t, primary)
	if got := replica.Client().Get(t.Context(), "before").Val(); got != "1" {
		t.Errorf("GET before = %q", got)
	}
	client.Set(t.Context(), "after", "2", 0)
	if n := client.Wait(t.Context(), 1, 10*time.Second).Val(); n != 1 {
		t.Fatalf("WAIT = %d", n)
	}
	if got := replica.Client().Get(t.Context(), "after").Val(); got != "2" {
		t.Errorf("GET after = %q", got)
	}
}

// A detached replica keeps its data until it is attached again.
func TestReplicaLags(t *testing.T) {
	primary := StartProcess(t)
	replica := StartReplica(t, primary)
	replica.Detach()
	client := primary.Client()
	client.Set(t.Context(), "k", "v", 0)
	if n := client.Wait(t.Context(), 1, 50*time.Millisecond).Val(); n != 0 {
		t.Errorf("%d replicas have it, want none", n)
	}
	if err := replica.Client().Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET k at the replica: %v", err)
	}
	replica.Attach()
	if n := client.Wait(t.Context(), 1, startWait).Val(); n != 1 {
		t.Errorf("%d replicas have it after Attach, want 1", n)
	}
}

// Replicas, Sentinels and clients find nodes under the address of a proxy in front of them,
// and under no other.
func TestAnnouncedAddresses(t *testing.T) {
	var mu sync.Mutex // guards proxies
	proxies := map[string]*cutproxy.Proxy{}
	opt := Options{Announce: func(addr string) string {
		mu.Lock()
		defer mu.Unlock()
		proxies[addr] = cutproxy.Listen(t, addr)
		return proxies[addr].Addr()
	}}
	behind := func(s *Server) *cutproxy.Proxy {
		mu.Lock()
		defer mu.Unlock()
		return proxies[s.Addr()]
	}
	t.Run("Sentinel", func(t *testing.T) {
		s := StartSentinel(t, &SentinelOptions{Options: opt})
		if n := behind(s.Primary()).Open(); n < 1+sentinels {
			t.Errorf("%d connections to the primary through its proxy, want those of its replica and of %d Sentinels", n, sentinels)
		}
		for _, w := range s.Sentinels() {
			err := until(t.Context(), func(context.Context) error {
				if behind(w).Accepted() == 0 {
					return errors.New("no other Sentinel has gone through its proxy")
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", w.Addr(), err)
			}
		}
		if _, err := s.Failover(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("Cluster", func(t *testing.T) {
		c := StartCluster(t, &ClusterOptions{Options: opt})
		for i := range shards {
			if behind(c.Primary(i)).Open() == 0 {
				t.Errorf("the replica of shard %d does not go through the proxy", i)
			}
		}
		named := c.Primary(0).Client().ClusterNodes(t.Context()).Val()
		for _, n := range c.Nodes() {
			if at := behind(n).Addr(); !strings.Contains(named, " "+at+"@") {
				t.Errorf("%s is not known as %s:\n%s", n.Addr(), at, named)
			}
		}
	})
}

// A paused server keeps its connections and answers nothing.
func TestPause(t *testing.T) {
	s := StartProcess(t)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.Pause()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	var reply [7]byte
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(reply[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server answered %q, %v", reply[:n], err)
	}
	s.Resume()
	_ = conn.SetReadDeadline(time.Now().Add(startWait))
	if n, err := conn.Read(reply[:]); string(reply[:n]) != "+PONG\r\n" {
		t.Errorf("after Resume it answered %q, %v", reply[:n], err)
	}
	s.Pause()
	s.Stop()
}

// Two servers never have the same port, even while one of them is down.
func TestPortIsKept(t *testing.T) {
	p, err := takePort()
	if err != nil {
		t.Fatal(err)
	}
	defer p.release()
	if other, err := net.ListenPacket("udp", p.addr()); err == nil {
		_ = other.Close()
		t.Errorf("port %s is taken and not marked", p)
	}
}
