package redislog

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
	"github.com/tidemark/tidemark/tests/redistest"
)

// oneNodeCluster starts the smallest Cluster, for tests that need only one node.
func oneNodeCluster(t *testing.T) (node *redistest.Server, url string) {
	t.Helper()
	node = redistest.StartProcess(t, "--cluster-enabled", "yes")
	ownAllSlots(t, node)
	return node, strings.Replace(node.URL(), "redis://", "redis+cluster://", 1)
}

// ownAllSlots makes a Cluster of one node.
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

// If the URL is for another topology, Open fails and its error says which URL fits.
func TestTopologyOfTheURL(t *testing.T) {
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

// An answer of Sentinels is final only if all of them give it. Sentinels have their own
// users, separate from Redis's.
func TestSentinelURL(t *testing.T) {
	watched := redistest.StartSentinel(t, nil)
	setUser(t, watched.Primary().Client(), aclRule(t))
	all, _, _ := strings.Cut(watched.URL(), "?")
	withUser := strings.Replace(watched.URL(), "://", "://tidemark:secret@", 1)

	t.Run("unknown primary", func(t *testing.T) {
		_, err := Open(t.Context(), Options{URL: all + "?master_name=nobody", Logger: quiet()})
		if !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), `no master named "nobody"`) {
			t.Errorf("Open = %v, want ErrSettings with the name", err)
		}
	})
	t.Run("unknown primary, and one Sentinel down", func(t *testing.T) {
		l := open(t, Options{URL: all + ",127.0.0.1:1?master_name=nobody"})
		if err := l.Ping(t.Context()); err == nil {
			t.Error("Ping without a primary gives no error")
		}
	})
	t.Run("one Sentinel down", func(t *testing.T) {
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
			if !rediserr.Permanent(err) || !strings.Contains(err.Error(), "Sentinel 127.0.0.1") {
				t.Errorf("with %q: Open = %v, want a permanent error that names the Sentinel", more, err)
			}
		}
	})
}

// works checks that a log with these options stores an event and delivers it to a feed.
func works(t *testing.T, opt Options) {
	t.Helper()
	opt.Prefix = newPrefix()
	l := open(t, opt)
	room := roomOfFirst(l.Partitions())
	feed := follow(t, l, room)
	nextIs(t, feed, put(t, l, draft(room, "1")))
}

// The number of partitions depends on the topology, unless the options give it.
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

// Logs with one prefix in two databases of one Redis do not receive each other's events,
// although Redis shares channels among all databases.
func TestDatabasesAreSeparate(t *testing.T) {
	server, prefix := redistest.Shared(t), newPrefix()
	zero := open(t, Options{URL: server.URL(), Prefix: prefix})
	one := open(t, Options{URL: server.URL() + "/1", Prefix: prefix})
	feed := follow(t, one, "r")
	put(t, zero, draft("r", `"of zero"`))
	nextIs(t, feed, put(t, one, draft("r", `"of one"`)))
}

// If one node of a Cluster hangs, the partitions of the other nodes still pass their check.
// Each check asks only the partition's own node.
func TestCheckBesideAHangingNode(t *testing.T) {
	c := redistest.StartCluster(t, &redistest.ClusterOptions{
		NoReplicas: true, Options: redistest.Options{Args: []string{"--cluster-require-full-coverage", "no"}},
	})
	l := open(t, Options{URL: c.URL(), Prefix: newPrefix(), Partitions: 32})
	const hangs = 1
	here := map[*partition]bool{}
	for _, p := range l.partitions {
		p.checked.Store(false)
		here[p] = c.Slot(p.Clock())*3/16384 == hangs // each of the three nodes has a third of the slots
	}
	c.Primary(hangs).Pause()
	checked := 0
	for _, p := range l.partitions {
		if here[p] {
			continue
		}
		ctx, cancel, err := l.begin(t.Context(), l.opt.Timeout)
		if err == nil {
			err = l.ensure(ctx, p)
			cancel()
		}
		if err != nil {
			t.Errorf("partition %d, on a healthy node: %v", p.ID, err)
		}
		checked++
	}
	if checked == 0 || checked == len(l.partitions) {
		t.Errorf("%d of %d partitions are on healthy nodes: nothing was tested", checked, len(l.partitions))
	}
}
