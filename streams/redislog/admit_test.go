package redislog

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/redistest"
)

// oneNodeCluster starts the smallest Cluster: for what does not depend on how many
// nodes there are.
func oneNodeCluster(t *testing.T) (node *redistest.Server, url string) {
	t.Helper()
	node = redistest.StartProcess(t, "--cluster-enabled", "yes")
	ownAllSlots(t, node)
	return node, strings.Replace(node.URL(), "redis://", "redis+cluster://", 1)
}

// ownAllSlots makes a Cluster of a node that knows no other.
func ownAllSlots(t *testing.T, node *redistest.Server) {
	t.Helper()
	admin := node.Client()
	if err := admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is up", func() bool {
		return strings.Contains(admin.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
}

// A URL for another shape of Redis is refused at the start, with the right one.
func TestShapeOfTheURL(t *testing.T) {
	server := redistest.Shared(t)
	node, _ := oneNodeCluster(t)
	watched := redistest.StartSentinel(t, nil)
	watcher := watched.Sentinels()[0].Addr()
	for url, want := range map[string]string{
		"redis://" + node.Addr():                               "redis+cluster://: it is a node of a cluster",
		"redis+cluster://" + server.Addr():                     "redis://: it is no cluster",
		"redis://" + watcher:                                   "redis+sentinel://",
		"redis+cluster://" + watcher:                           "redis+sentinel://",
		watched.URL():                                          "",
		"redis+sentinel://" + server.Addr() + "?master_name=m": "is no Sentinel",
	} {
		l, err := Open(t.Context(), Options{URL: url, Prefix: newPrefix(), Logger: quiet()})
		if want == "" {
			if err != nil {
				t.Errorf("Open(%s) = %v", url, err)
				continue
			}
			_ = l.Close()
			continue
		}
		if !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s) = %v, want ErrSettings with %q", url, err, want)
		}
	}
}

// What Sentinels say is final only if all of them say it. They have users of their
// own, apart from Redis's.
func TestSentinelURL(t *testing.T) {
	watched := redistest.StartSentinel(t, nil)
	setUser(t, watched.Primary().Client(), aclRule(t))
	all, _, _ := strings.Cut(watched.URL(), "?")
	withUser := strings.Replace(watched.URL(), "://", "://tidemark:secret@", 1)

	t.Run("unknown master", func(t *testing.T) {
		_, err := Open(t.Context(), Options{URL: all + "?master_name=nobody", Logger: quiet()})
		if !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), `no master named "nobody"`) {
			t.Errorf("Open = %v, want ErrSettings with the name", err)
		}
	})
	t.Run("unknown master, and one Sentinel away", func(t *testing.T) {
		l := open(t, Options{URL: all + ",127.0.0.1:1?master_name=nobody"})
		if err := l.Ping(t.Context()); err == nil {
			t.Error("Ping without a master gives no error")
		}
	})
	t.Run("one Sentinel away", func(t *testing.T) {
		works(t, Options{URL: withUser + "&addr=127.0.0.1:1"})
	})
	t.Run("Sentinels with a password", func(t *testing.T) {
		for _, w := range watched.Sentinels() {
			setUser(t, w.Client(), []string{"watcher", "on", ">pw2", "&*", "-@all", "+subscribe",
				"+sentinel|get-master-addr-by-name", "+sentinel|sentinels"})
			setUser(t, w.Client(), []string{"default", "resetpass", "off"})
		}
		works(t, Options{URL: withUser + "&sentinel_username=watcher", SentinelPasswordFile: write(t, "pw2")})
		for _, more := range []string{"", "&sentinel_username=watcher&sentinel_password=wrong"} {
			_, err := Open(t.Context(), Options{URL: withUser + more, Logger: quiet()})
			if !permanent(err) || !strings.Contains(err.Error(), "Sentinel 127.0.0.1") {
				t.Errorf("with %q: Open = %v, want a permanent error that names the Sentinel", more, err)
			}
		}
	})
}

// works checks that a log with these settings takes an event and has a feed.
func works(t *testing.T, opt Options) {
	t.Helper()
	opt.Prefix = newPrefix()
	l := open(t, opt)
	room := roomOfFirst(l.Partitions())
	feed := follow(t, l, room)
	nextIs(t, feed, put(t, l, draft(room, "1")))
}

// The partitions follow the shape, unless they are given.
func TestDefaultPartitions(t *testing.T) {
	_, clusterURL := oneNodeCluster(t)
	for _, c := range []struct {
		url        string
		have, want int
	}{
		{redistest.Shared(t).URL(), 0, 1},
		{redistest.Shared(t).URL(), 3, 3},
		{clusterURL, 0, 16},
		{clusterURL, 2, 2},
	} {
		l := open(t, Options{URL: c.url, Partitions: c.have, Prefix: newPrefix()})
		if got := l.Partitions(); got != c.want {
			t.Errorf("%s: %d partitions, want %d", c.url, got, c.want)
		}
	}
}

// Logs with one prefix in two databases of one Redis do not hear each other: to
// Redis a channel is the same in all databases.
func TestDatabasesApart(t *testing.T) {
	server, prefix := redistest.Shared(t), newPrefix()
	zero := open(t, Options{URL: server.URL(), Prefix: prefix})
	one := open(t, Options{URL: server.URL() + "/1", Prefix: prefix})
	feed := follow(t, one, "r")
	put(t, zero, draft("r", `"of zero"`))
	nextIs(t, feed, put(t, one, draft("r", `"of one"`)))
}

// A server that takes connections and says nothing costs an attempt the limit for
// dialling, whatever a call may take.
func TestDialTimeout(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dial := dialOnce(10*time.Millisecond, new(tls.Config))
	done := make(chan error, 1)
	go func() {
		_, err := dial(t.Context(), "tcp", silent.Addr().String())
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a handshake with nobody succeeded")
		}
	case <-time.After(patience):
		t.Errorf("no error within %v", patience)
	}
}

// In a Cluster one of whose nodes hangs, the partitions of the others are used all
// the same: they are asked about at their own nodes.
func TestAdmitBesideAHangingNode(t *testing.T) {
	c := redistest.StartCluster(t, &redistest.ClusterOptions{
		NoReplicas: true, Options: redistest.Options{Args: []string{"--cluster-require-full-coverage", "no"}},
	})
	l := open(t, Options{URL: c.URL(), Prefix: newPrefix(), Partitions: 32})
	const hangs = 1
	here := map[*partition]bool{}
	for _, p := range l.partitions {
		p.checked.Store(false)
		here[p] = c.Slot(p.clock())*3/allSlots == hangs // each of the three has a third
	}
	c.Primary(hangs).Pause()
	admitted := 0
	for _, p := range l.partitions {
		if here[p] {
			continue
		}
		ctx, cancel, err := l.begin(t.Context())
		if err == nil {
			err = l.ensure(ctx, p)
			cancel()
		}
		if err != nil {
			t.Errorf("partition %d, on a node that is well: %v", p.id, err)
		}
		admitted++
	}
	if admitted == 0 || admitted == len(l.partitions) {
		t.Errorf("%d of %d partitions are on nodes that are well: nothing was tested", admitted, len(l.partitions))
	}
}
