package redislog

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// pipelining is how appends share round trips: what is submitted while a batch is
// on its way goes with the next. go-redis's full duplex is not used, for it sends
// again what was under way when a connection broke.
func pipelining() *redis.AutoPipelineOptions {
	o := redis.DefaultAutoPipelineOptions()
	o.MaxQueuedCommands = maxQueued
	return o
}

// once is a command that is sent once. A Cluster client sends what failed with
// the network again, whatever MaxRetries says, unless the command forbids it;
// what was never sent, or was redirected, it still sends.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// Append implements streams.Log. Partitions are written at once, each by one
// script in one round trip.
func (l *Log) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	receipts := make([]streams.Receipt, len(drafts))
	ctx, cancel, err := l.begin(ctx)
	if err != nil {
		for i := range receipts {
			receipts[i].Err = err
		}
		return receipts
	}
	defer cancel()
	var running sync.WaitGroup
	for p, at := range l.byPartition(drafts) {
		running.Go(func() { l.appendTo(ctx, p, drafts, at, receipts) })
	}
	running.Wait()
	return receipts
}

// byPartition returns where in drafts those of each partition are.
func (l *Log) byPartition(drafts []streams.Draft) map[*partition][]int {
	groups := map[*partition][]int{}
	for i := range drafts {
		p := l.partition(drafts[i].Room)
		groups[p] = append(groups[p], i)
	}
	return groups
}

func (l *Log) partition(room streams.Room) *partition {
	return l.partitions[room.Partition(len(l.partitions))]
}

// appendTo stores the drafts at the given places, all of p, and fills in their receipts.
func (l *Log) appendTo(ctx context.Context, p *partition, drafts []streams.Draft, at []int, receipts []streams.Receipt) {
	call := l.appendCall(p, drafts, at)
	reply, err := l.withClock(ctx, p, func() (any, error) { return l.sendOnce(ctx, appendScript, call) })
	if err != nil {
		err = appending(err)
	}
	outcomes, _ := reply.([]any)
	for n, i := range at {
		switch {
		case err != nil:
			receipts[i].Err = err
		case len(outcomes) != 2*len(at):
			receipts[i].Err = fmt.Errorf("%w: %d outcomes for %d drafts", streams.ErrUnavailable, len(outcomes)/2, len(at))
		default:
			receipts[i] = p.receipt(&drafts[i], outcomes[2*n], outcomes[2*n+1])
		}
	}
}

// receipt reads the outcome of a draft, and notes what was stored.
func (p *partition) receipt(d *streams.Draft, outcome, said any) streams.Receipt {
	text, _ := said.(string)
	switch outcome {
	case int64(stored), int64(replayed):
		id, err := parsePosition(text, p.id)
		if err != nil {
			return streams.Receipt{Err: fmt.Errorf("%w: %w", streams.ErrUnavailable, err)}
		}
		if outcome == int64(stored) && d.Keep.Events > 0 {
			p.saw(d.Room, id)
		}
		return streams.Receipt{ID: id, Replayed: outcome == int64(replayed)}
	case int64(reused):
		return streams.Receipt{Err: streams.ErrKeyReused}
	case int64(refused):
		return streams.Receipt{Err: fmt.Errorf("%w: %s", streams.ErrRefused, text)}
	default:
		return streams.Receipt{Err: fmt.Errorf("%w: outcome %v", streams.ErrUnavailable, outcome)}
	}
}

// callHead is how many words of a call come before the keys: the command, the
// script, and the number of keys.
const callHead = 3

// appendCall returns the words of a call of appendScript, up to the script's name.
func (l *Log) appendCall(p *partition, drafts []streams.Draft, at []int) []any {
	call := make([]any, callHead, callHead+3+len(at)*(3+argsPerDraft))
	call = append(call, p.clock())
	for _, i := range at {
		d := &drafts[i]
		call = append(call, p.stream(d.Room), p.tail(d.Room))
		if d.Key != "" {
			call = append(call, p.record(d.Room, d.Key))
		}
	}
	call[2] = len(call) - callHead
	call = append(call, len(l.partitions), millis(l.opt.KeyLife))
	for _, i := range at {
		d := &drafts[i]
		call = append(call, p.channel(d.Room), d.Type, d.Data, fingerprint(d),
			strconv.Itoa(d.Keep.Events), millis(max(d.Keep.Age, time.Millisecond)))
	}
	return call
}

// fingerprint is empty for a draft without a key.
func fingerprint(d *streams.Draft) string {
	if d.Key == "" {
		return ""
	}
	sum := d.Fingerprint()
	return hex.EncodeToString(sum[:])
}

// sendOnce runs script through the pipeliner, at most once: a script that Redis
// does not know it has not run, so that one is sent again in full.
func (l *Log) sendOnce(ctx context.Context, script script, call []any) (any, error) {
	call[0], call[1] = "evalsha", script.Hash()
	reply, err := l.submit(ctx, call)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		call[0], call[1] = "eval", script.source
		return l.submit(ctx, call)
	}
	return reply, err
}

// submit waits for the reply no longer than ctx does. The command stays in the
// pipeliner then, so neither it nor its words may be touched again.
func (l *Log) submit(ctx context.Context, call []any) (any, error) {
	cmd := once{redis.NewCmd(ctx, call...)}
	if err := l.writes.Submit(ctx, cmd).WaitContext(ctx); err != nil {
		return nil, err
	}
	return cmd.Result()
}
