package redislog

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// Append implements streams.Log. Partitions are written at once, each by one
// script, which carries what other callers append meanwhile as well.
func (l *Log) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	receipts := make([]streams.Receipt, len(drafts))
	ctx, cancel, err := l.beginFor(ctx, l.limit(drafts))
	if err != nil {
		for i := range receipts {
			receipts[i].Err = err
		}
		return receipts
	}
	defer cancel()
	if len(drafts) == 1 { // as most are
		l.appendTo(ctx, l.partition(drafts[0].Room), drafts, []int{0}, receipts)
		return receipts
	}
	var waiting sync.WaitGroup
	for p, at := range l.byPartition(drafts) {
		waiting.Go(func() { l.appendTo(ctx, p, drafts, at, receipts) })
	}
	waiting.Wait()
	return receipts
}

// limit is how long an append of drafts may take.
func (l *Log) limit(drafts []streams.Draft) time.Duration {
	for i := range drafts {
		if l.needOf(&drafts[i]) != 0 {
			return waitingFactor * l.opt.Timeout
		}
	}
	return l.opt.Timeout
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
	s := &submission{drafts: make([]streams.Draft, len(at)), done: make(chan struct{})}
	s.deadline, _ = ctx.Deadline() // begin has set one
	var need need
	for n, i := range at {
		s.drafts[n] = drafts[i]
		s.bytes += len(drafts[i].Data)
		need |= l.needOf(&drafts[i])
	}
	err := p.writers[need].submit(ctx, s)
	for n, i := range at {
		if err != nil {
			receipts[i].Err = err
		} else {
			receipts[i] = s.receipts[n]
		}
	}
}

// callHead is how many words of a call come before the keys: the command, the
// script, and the number of keys.
const callHead = 3

// appendCall returns the words of a call of appendScript, up to the script's name.
func (l *Log) appendCall(p *partition, seen []sighting, drafts []*streams.Draft) []any {
	call := make([]any, callHead, callHead+6+3*len(seen)+len(drafts)*(3+argsPerDraft))
	for _, key := range p.lookKeys(seen) {
		call = append(call, key)
	}
	for _, d := range drafts {
		call = append(call, p.stream(d.Room), p.tail(d.Room))
		if d.Key != "" {
			call = append(call, p.record(d.Room, d.Key))
		}
	}
	call[2] = len(call) - callHead
	call = append(call, l.lookArgs(p, seen)...)
	call = append(call, millis(l.opt.KeyLife), rand.Uint32())
	for _, d := range drafts {
		call = append(call, p.channel(d.Room), d.Type, d.Data, fingerprint(d),
			strconv.Itoa(d.Retention.Events), millis(max(d.Retention.Age, time.Millisecond)), string(d.Trace))
	}
	return call
}

// newestStored is the last of the drafts that was logged now; zero for none.
func newestStored(drafts []*streams.Draft, receipts []streams.Receipt) sighting {
	for i, r := range slices.Backward(receipts) {
		if r.Err == nil && !r.Replayed && drafts[i].Retention.Events > 0 {
			return sighting{room: drafts[i].Room, id: r.ID}
		}
	}
	return sighting{}
}

// fingerprint is empty for a draft without a key.
func fingerprint(d *streams.Draft) string {
	if d.Key == "" {
		return ""
	}
	sum := d.Fingerprint()
	return hex.EncodeToString(sum[:])
}

// receipts reads the reply of appendScript, or says of all drafts what went wrong.
func (p *partition) receipts(drafts []*streams.Draft, reply any, err error) []streams.Receipt {
	receipts := make([]streams.Receipt, len(drafts))
	outcomes, _ := reply.([]any)
	if err == nil && len(outcomes) != 1+2*len(drafts) {
		err = fmt.Errorf("%w: %d outcomes for %d drafts", streams.ErrUnavailable, len(outcomes)/2, len(drafts))
	}
	for i, d := range drafts {
		if err != nil {
			receipts[i].Err = appending(err)
		} else {
			receipts[i] = p.receipt(d, outcomes[1+2*i], outcomes[2+2*i])
		}
	}
	return receipts
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
		r := streams.Receipt{ID: id, Replayed: outcome == int64(replayed)}
		if d.Retention.Events > 0 {
			r.Durability = streams.Logged
		}
		if !r.Replayed {
			p.passed(id)
		}
		return r
	case int64(reused):
		return streams.Receipt{Err: streams.ErrKeyReused}
	case int64(refused):
		return streams.Receipt{Err: fmt.Errorf("%w: %s", streams.ErrRefused, text)}
	default:
		return streams.Receipt{Err: fmt.Errorf("%w: outcome %v", streams.ErrUnavailable, outcome)}
	}
}

// once is a command that is sent once: the client sends others again when the
// connection fails, and an append without a key would then be stored twice.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }
