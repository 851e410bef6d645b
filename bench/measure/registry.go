package measure

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/bench/result"
)

// The benchmarks in Tidemark's package service that measure 7 uses, and the units of
// the relevant results.
const (
	registryPackage = "./service"
	registerPattern = "BenchmarkRegister$"
	registerUnit    = "p99.9-ns"
	enqueuePattern  = "BenchmarkEnqueue$"
	enqueueUnit     = "ns/broadcast"
)

// Registry is measure 7. It measures joining and leaving among 10,000 connections
// during broadcasts, and handing one event to all of them. No peer has an equivalent to
// compare.
func (b *Bench) Registry(ctx context.Context) error {
	err := b.registry(ctx, registerPattern, registerUnit, result.Figure{
		Name: "join and leave among 10,000 subscriptions during broadcasts: p99.9", Targets: []result.Target{result.Limit(1)},
	})
	if err != nil {
		return err
	}
	return b.registry(ctx, enqueuePattern, enqueueUnit, result.Figure{
		Name: "hand one event to 10,000 subscriptions", Targets: []result.Target{result.Limit(2)},
	})
}

func (b *Bench) registry(ctx context.Context, pattern, unit string, f result.Figure) error {
	values, err := b.goBenchmark(ctx, registryPackage, pattern)
	if err != nil {
		return err
	}
	if v, ok := values[unit]; ok {
		values[unit] = milliseconds(time.Duration(v))
	}
	f.Measure, f.System, f.Unit = 7, result.Tidemark, "ms"
	return b.observeBenchmark(f, values, unit)
}
