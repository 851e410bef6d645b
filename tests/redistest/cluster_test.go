package redistest

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestClusterFailover(t *testing.T) {
	c := StartCluster(t, nil)
	old := c.Primary(1)
	promoted, err := c.Failover(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if promoted == old || promoted != c.Primary(1) || c.Replica(1) != old {
		t.Errorf("%s was promoted, primary is %s, was %s", promoted.Addr(), c.Primary(1).Addr(), old.Addr())
	}
}

func TestClusterReplacesAKilledPrimary(t *testing.T) {
	c := StartCluster(t, nil)
	old := c.Kill(2)
	promoted, err := c.Promoted(t.Context(), 2, old)
	if err != nil {
		t.Fatal(err)
	}
	old.Restart()
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Primary(2) != promoted {
		t.Errorf("primary is %s, want %s", c.Primary(2).Addr(), promoted.Addr())
	}
}

// A slot moves with its keys, in steps.
func TestClusterMovesASlot(t *testing.T) {
	c := StartCluster(t, &ClusterOptions{NoReplicas: true})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes()[0].Announced()}})
	t.Cleanup(func() { _ = client.Close() })
	const keys = 10
	for i := range keys {
		if err := client.Set(t.Context(), "{a}"+strconv.Itoa(i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	slot := c.Slot("{a}")
	from := c.Shard(slot)
	to := (from + 1) % shards
	m, err := c.StartMove(t.Context(), slot, to)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := m.Keys(t.Context(), 4); n != 4 || err != nil {
		t.Errorf("Keys moved %d, %v", n, err)
	}
	inSlot := func(shard int) int64 {
		return c.Primary(shard).Client().ClusterCountKeysInSlot(t.Context(), slot).Val()
	}
	if there, here := inSlot(to), inSlot(from); there != 4 || here != keys-4 {
		t.Errorf("%d keys there and %d here, half-way", there, here)
	}
	if err := m.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Shard(slot) != to || inSlot(to) != keys {
		t.Errorf("shard %d has %d keys, and the slot is in shard %d", to, inSlot(to), c.Shard(slot))
	}
}

// A slot that its owner has forgotten, while the others have not, is given back.
func TestClusterMendsASlot(t *testing.T) {
	c := StartCluster(t, &ClusterOptions{NoReplicas: true})
	slot := c.Slot("{a}")
	shard := c.Shard(slot)
	owner := c.Primary(shard)
	if err := owner.Client().ClusterDelSlots(t.Context(), slot).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.Shard(slot); got != shard {
		t.Errorf("the slot is in shard %d, want %d", got, shard)
	}
}
