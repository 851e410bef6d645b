package redislog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// waitShare is the part of the time left that Redis may spend waiting for replicas
// and for the disk. The rest is for the script and for the way there and back, so
// that there is an answer, with the ids in it.
const waitShare = 0.75

// waitingFactor is how much longer than other calls appends may take that wait for
// replicas or the disk. With appendfsync everysec Redis writes to the disk once a
// second, and puts that off for up to two more while the disk is busy.
const waitingFactor = 2

// need says what appends wait for, beside being logged: a set of levels.
type need uint8

const (
	needReplicas need = 1 << iota
	needDisk
	needs = 1 << iota // how many sets there are
)

// wanted returns how safe d is to be. What is ephemeral is never logged.
func (l *Log) wanted(d *streams.Draft) streams.Durability {
	switch {
	case d.Retention.Events == 0:
		return 0
	case d.Durability == 0:
		return l.opt.Durability
	}
	return d.Durability
}

func (l *Log) needOf(d *streams.Draft) need {
	switch l.wanted(d) {
	case streams.Replicated:
		return needReplicas
	case streams.Fsynced:
		return needDisk
	}
	return 0
}

// A wait is a command that returns when the writes of its connection have reached
// a level, or in vain when its time is over.
//
// https://redis.io/docs/latest/commands/wait/ and …/waitaof/
type wait struct {
	level streams.Durability
	want  int64
	cmd   once
}

// waits returns the commands for what is needed, for callers that give up at deadline.
func (n need) waits(ctx context.Context, replicas int, deadline time.Time) []wait {
	limit := time.Duration(waitShare * float64(time.Until(deadline)))
	if n == needReplicas|needDisk {
		limit /= 2
	}
	ms := max(limit.Milliseconds(), 1) // 0 would be for ever
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

// failure returns why the level was not reached, or nil. WAIT answers with the
// number of replicas that have it; WAITAOF with how many disks, this one and others.
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

// missed says of each level why it was not reached; nil where it was, or was not asked for.
type missed [streams.Fsynced + 1]error

// settle completes the receipt of a draft that wanted a level.
func (m *missed) settle(r *streams.Receipt, wanted streams.Durability) {
	switch {
	case r.Err != nil || wanted <= streams.Logged:
	case m[wanted] != nil:
		r.Durability, r.Err = 0, fmt.Errorf("%w: %w", streams.ErrNotDurable, m[wanted])
	default:
		r.Durability = wanted
	}
}

// canGive returns ErrDurability if Redis can't give what is needed at all: only
// then is it certain that nothing must be stored. That a disk can be waited for is
// asked until it is true once; replicas may come and go.
func (l *Log) canGive(ctx context.Context, p *partition, n need) error {
	if n&needDisk == 0 || p.syncs.Load() {
		return nil
	}
	node, err := l.master(ctx, p)
	if err != nil {
		return err
	}
	err = explain(node.Do(ctx, "waitaof", 1, 0, 1).Err())
	switch {
	case errors.Is(err, streams.ErrRefused):
		return fmt.Errorf("%w: fsynced needs Redis 7.2 or newer with appendonly on", streams.ErrDurability)
	case err != nil:
		return err
	}
	p.syncs.Store(true)
	return nil
}
