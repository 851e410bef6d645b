package measure

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

// memorySettle is how long connections have been idle when memory is looked at.
const memorySettle = 5 * time.Second

// Memory is measure 2: what 10,000 idle connections take, each.
func (b *Bench) Memory(ctx context.Context) error {
	return errors.Join(
		forEach(b.all(), func(s system.System) error { return b.memory(ctx, s, system.SSE, 7) }),
		forEach(b.all(), func(s system.System) error { return b.memory(ctx, s, system.WebSocket, 9) }),
	)
}

func (b *Bench) memory(ctx context.Context, s system.System, t system.Transport, most float64) error {
	const clients = 10_000
	return b.with(ctx, s, setup{retain: 100}, func(k *session) error {
		follow, ok := s.Follow(t)
		if !ok {
			return nil
		}
		each, err := k.memoryOf(func() error { return k.follow(follow, load.Room("idle"), clients) })
		if err != nil {
			return err
		}
		b.observe(result.Figure{
			Measure: 2, Name: "idle " + string(t) + " connection", Unit: "KiB", Reach: []result.Bound{result.Limit(most)},
		}, s, each/clients/1024, k.counts())
		return nil
	})
}

// memoryOf is by how many bytes the system has grown after do, when it has come to rest.
func (k *session) memoryOf(do func() error) (float64, error) {
	if err := k.pause(settle); err != nil {
		return 0, err
	}
	before, err := system.Memory(k.pids...)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	if err := k.pause(memorySettle); err != nil {
		return 0, err
	}
	after, err := system.Memory(k.pids...)
	return float64(after - before), err
}
