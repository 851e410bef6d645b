package redistest

import (
	"context"
	"fmt"
	"net"
)

// migrateWait bounds the move of one group of keys, milliseconds.
const migrateWait = 10_000

// A Migration is a slot on its way from one shard to another. Between its steps
// some of the slot's keys are here and some there, as they are while an operator
// moves it: commands for several keys are answered TRYAGAIN, those for keys that
// have moved ASK.
type Migration struct {
	c        *Cluster
	slot     int
	from, to *Server
}

// StartMove opens the slot to being moved to shard.
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

// Keys moves up to n keys and returns how many there were to move.
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

// Finish moves what is left, and the slot; it returns once all nodes know.
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
	// First the new owner and then the old one: a slot that both disown for a
	// moment would be lost if a node died in it.
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
