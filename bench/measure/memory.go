package measure

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

// memoryIdleTime is how long connections stay idle before memory is measured.
const memoryIdleTime = 5 * time.Second

// Memory is measure 2. It measures the memory per idle connection, with 10,000 of them.
func (b *Bench) Memory(ctx context.Context) error {
	return errors.Join(
		forEach(b.systems(), func(s system.System) error { return b.memory(ctx, s, system.SSE, 7) }),
		forEach(b.systems(), func(s system.System) error { return b.memory(ctx, s, system.WebSocket, 9) }),
	)
}

func (b *Bench) memory(ctx context.Context, s system.System, t system.Transport, most float64) error {
	const clients = 10_000
	return b.withSystem(ctx, s, setup{retain: 100}, func(tr *trial) error {
		follow, ok := s.Follow(t)
		if !ok {
			return nil
		}
		each, err := tr.memoryOf(func() error { return tr.follow(follow, load.Room("idle"), clients) })
		if err != nil {
			return err
		}
		b.observe(result.Figure{
			Measure: 2, Name: "idle " + string(t) + " connection", Unit: "KiB", Targets: []result.Target{result.Limit(most)},
		}, s, each/clients/1024, tr.counts())
		return nil
	})
}

// memoryOf returns by how many bytes the system's memory grows during do and the idle
// time after it.
func (tr *trial) memoryOf(do func() error) (float64, error) {
	if err := tr.pause(settleTime); err != nil {
		return 0, err
	}
	before, err := system.Memory(tr.pids...)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	if err := tr.pause(memoryIdleTime); err != nil {
		return 0, err
	}
	after, err := system.Memory(tr.pids...)
	return float64(after - before), err
}
