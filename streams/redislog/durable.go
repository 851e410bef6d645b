package redislog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/redisconn"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// waitShare is the part of the remaining time that Redis may spend waiting for replicas
// and the disk. The rest is for the script and the round trip, so that the reply with the
// ids arrives in time.
const waitShare = 0.75

// A need is what an append waits for after the event is logged: a set of levels.
type need uint8

const (
	needReplicas need = 1 << iota
	needDisk
	needs = 1 << iota // number of sets
)

// wanted returns the durability that d asks for. An ephemeral event has none.
func (s *store) wanted(d *streams.Draft) streams.Durability {
	switch {
	case d.Retention.Events == 0:
		return 0
	case d.Durability == 0:
		return s.opt.Durability
	}
	return d.Durability
}

func (s *store) needOf(d *streams.Draft) need {
	switch s.wanted(d) {
	case streams.Replicated:
		return needReplicas
	case streams.Fsynced:
		return needDisk
	}
	return 0
}

// limitOf returns the time limit of an append with that need.
func (s *store) limitOf(n need) time.Duration {
	if n != 0 {
		return redisconn.WaitFactor * s.opt.Timeout
	}
	return s.opt.Timeout
}

// A wait is a command that returns when the writes of its connection have reached a level
// or when its time has passed.
//
// https://redis.io/docs/latest/commands/wait/ and …/waitaof/
type wait struct {
	level streams.Durability
	want  int64
	cmd   once
}

// waits returns the commands for the need, for callers that give up at deadline.
func (n need) waits(ctx context.Context, replicas int, deadline time.Time) []wait {
	limit := time.Duration(waitShare * float64(time.Until(deadline)))
	if n == needReplicas|needDisk {
		limit /= 2
	}
	ms := max(limit.Milliseconds(), 1) // 0 means no limit
	var waits []wait
	if n&needReplicas != 0 {
		cmd := redis.NewCmd(ctx, "wait", replicas, ms)
		waits = append(waits, wait{streams.Replicated, int64(replicas), once{cmd}})
	}
	if n&needDisk != 0 {
		cmd := redis.NewCmd(ctx, "waitaof", 1, 0, ms)
		waits = append(waits, wait{streams.Fsynced, 1, once{cmd}})
	}
	return waits
}

// failure returns why the level was not reached, or nil. WAIT returns the number of
// replicas that have the writes. WAITAOF returns two numbers of disks: local and replicas'.
func (w wait) failure() error {
	reply, err := w.cmd.Result()
	if err != nil {
		return err
	}
	if both, ok := reply.([]any); ok && len(both) > 0 {
		reply = both[0]
	}
	if got, _ := reply.(int64); got < w.want {
		return fmt.Errorf("%s: reached %d of %d in time", w.cmd.Name(), got, w.want)
	}
	return nil
}

// unreached says for each level why it was not reached. A level that was reached or not
// needed has nil.
type unreached [streams.Fsynced + 1]error

// complete fills in the durability of a receipt whose draft wanted a level.
func (u *unreached) complete(r *streams.Receipt, wanted streams.Durability) {
	switch {
	case r.Err != nil || wanted <= streams.Logged:
	case u[wanted] != nil:
		r.Durability, r.Err = 0, fmt.Errorf("%w: %w", streams.ErrNotDurable, u[wanted])
	default:
		r.Durability = wanted
	}
}

// canGive returns ErrDurability if Redis does not support the need at all. Only then may
// an append fail before it stores anything. canGive asks about the disk until the answer is
// yes once. It does not ask about replicas, because they come and go.
func (s *store) canGive(ctx context.Context, p *partition, n need) error {
	if n&needDisk == 0 || p.canFsync.Load() {
		return nil
	}
	node, err := s.primary(ctx, p)
	if err != nil {
		return err
	}
	err = rediserr.Explain(node.Do(ctx, "waitaof", 1, 0, 1).Err())
	switch {
	case errors.Is(err, streams.ErrRefused):
		return fmt.Errorf("%w: fsynced needs Redis 7.2 or newer with appendonly on", streams.ErrDurability)
	case err != nil:
		return err
	}
	p.canFsync.Store(true)
	return nil
}
