package redistest

import (
	"context"
	"fmt"
	"net"
)

// migrateWait bounds the move of one group of keys, in milliseconds.
const migrateWait = 10_000

// A Migration is the move of a slot from one shard to another. Between its steps both shards
// have some of the slot's keys, as while an operator moves it. Redis answers commands for
// several keys with TRYAGAIN, and commands for moved keys with ASK.
type Migration struct {
	c        *Cluster
	slot     int
	from, to *Server
}

// StartMove begins to move the slot to shard.
func (c *Cluster) StartMove(ctx context.Context, slot, shard int) (*Migration, error) {
	from, err := c.primary(ctx, c.Shard(slot))
	if err != nil {
		return nil, err
	}
	to, err := c.primary(ctx, shard)
	if err != nil {
		return nil, err
	}
	if from == to {
		return nil, fmt.Errorf("slot %d is in shard %d already", slot, shard)
	}
	m := &Migration{c: c, slot: slot, from: from, to: to}
	if err := m.set(ctx, to, "IMPORTING", c.ids[from]); err != nil {
		return nil, err
	}
	return m, m.set(ctx, from, "MIGRATING", c.ids[to])
}

func (m *Migration) set(ctx context.Context, at *Server, what, node string) error {
	if err := at.admin().Do(ctx, "CLUSTER", "SETSLOT", m.slot, what, node).Err(); err != nil {
		return fmt.Errorf("%s: SETSLOT %d %s: %w", at.Addr(), m.slot, what, err)
	}
	return nil
}

// Keys moves up to n keys and returns the number of keys found.
func (m *Migration) Keys(ctx context.Context, n int) (moved int, err error) {
	keys, err := m.from.admin().ClusterGetKeysInSlot(ctx, m.slot, n).Result()
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	host, port, _ := net.SplitHostPort(m.to.Addr())
	call := []any{"MIGRATE", host, port, "", 0, migrateWait, "KEYS"}
	for _, key := range keys {
		call = append(call, key)
	}
	if err := m.from.admin().Do(ctx, call...).Err(); err != nil {
		return 0, fmt.Errorf("migrate %q: %w", keys, err)
	}
	return len(keys), nil
}

// Finish moves the other keys and the slot. It returns when all nodes know the new owner.
func (m *Migration) Finish(ctx context.Context) error {
	for {
		moved, err := m.Keys(ctx, 100)
		if err != nil {
			return err
		}
		if moved == 0 {
			break
		}
	}
	// The new owner first, then the old one: if both disowned the slot for a moment and a
	// node died then, the slot would be lost.
	for _, n := range []*Server{m.to, m.from} {
		if err := m.set(ctx, n, "NODE", m.c.ids[m.to]); err != nil {
			return err
		}
	}
	return m.c.Settle(ctx)
}

// MoveSlot moves the slot to shard, key by key.
func (c *Cluster) MoveSlot(ctx context.Context, slot, shard int) error {
	m, err := c.StartMove(ctx, slot, shard)
	if err != nil {
		return err
	}
	return m.Finish(ctx)
}
