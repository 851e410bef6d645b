package redislog

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/redistest"
)

// startCluster starts a Cluster of one node, which checks slots as one of many does.
func startCluster(t *testing.T) (server *redistest.Server, url string) {
	t.Helper()
	server = redistest.StartProcess(t, "--cluster-enabled", "yes")
	admin := server.Client()
	if err := admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is up", func() bool {
		return strings.Contains(admin.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
	return server, strings.Replace(server.URL(), "redis://", "redis+cluster://", 1)
}

func TestPromisesInCluster(t *testing.T) {
	_, url := startCluster(t)
	logtest.Run(t, func(t *testing.T) *logtest.Harness {
		opt := Options{URL: url, Prefix: newPrefix(), Partitions: 16}
		h := &logtest.Harness{Log: open(t, opt), Second: open(t, opt)}
		h.Reopen = func() streams.Log {
			_ = h.Log.Close()
			h.Log = open(t, opt)
			return h.Log
		}
		return h
	})
}

// A slot that is taken from the node ends its subscriptions, which is told.
func TestSlotMovesAway(t *testing.T) {
	server, url := startCluster(t)
	l := open(t, Options{URL: url, Partitions: 2})
	room := roomOfFirst(2)
	feed := follow(t, l, room)
	admin := server.Client()
	slot := int(admin.ClusterKeySlot(t.Context(), l.partitions[0].clock()).Val())
	if err := admin.ClusterDelSlots(t.Context(), slot).Err(); err != nil {
		t.Fatal(err)
	}
	lost(t, feed)
	if err := admin.ClusterAddSlots(t.Context(), slot).Err(); err != nil {
		t.Fatal(err)
	}
	joined(t, feed, room, 1)
}
