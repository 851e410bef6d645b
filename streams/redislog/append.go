package redislog

import (
	"context"
	"sync"

	"github.com/tidemark/tidemark/streams"
)

// Append implements streams.Log. It writes to all partitions at once. Each partition's
// drafts go into one script call, together with drafts of concurrent callers.
func (l *Log) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	receipts := make([]streams.Receipt, len(drafts))
	ctx, cancel, err := l.begin(ctx, l.limitOf(l.needOfAll(drafts)))
	if err != nil {
		for i := range receipts {
			receipts[i].Err = err
		}
		return receipts
	}
	defer cancel()
	if len(drafts) == 1 { // the common case
		l.appendTo(ctx, l.partition(drafts[0].Room), drafts, []int{0}, receipts)
		return receipts
	}
	var waiting sync.WaitGroup
	for p, indexes := range l.byPartition(drafts) {
		waiting.Go(func() { l.appendTo(ctx, p, drafts, indexes, receipts) })
	}
	waiting.Wait()
	return receipts
}

func (l *Log) needOfAll(drafts []streams.Draft) (all need) {
	for i := range drafts {
		all |= l.needOf(&drafts[i])
	}
	return all
}

// byPartition returns the indexes of each partition's drafts.
func (l *Log) byPartition(drafts []streams.Draft) map[*partition][]int {
	groups := map[*partition][]int{}
	for i := range drafts {
		p := l.partition(drafts[i].Room)
		groups[p] = append(groups[p], i)
	}
	return groups
}

// appendTo stores the drafts at the given indexes, which all belong to p, and fills in
// their receipts.
func (l *Log) appendTo(ctx context.Context, p *partition, drafts []streams.Draft, indexes []int, receipts []streams.Receipt) {
	s := &submission{drafts: make([]streams.Draft, len(indexes)), done: make(chan struct{})}
	s.deadline, _ = ctx.Deadline() // begin has set one
	var need need
	for n, i := range indexes {
		d := &drafts[i]
		s.drafts[n] = *d
		s.bytes += draftBytes + len(d.Data) + len(d.Room) + len(d.Type) + len(d.Key)
		need |= l.needOf(d)
	}
	err := l.writers[p.ID][need].submit(ctx, s)
	for n, i := range indexes {
		if err != nil {
			receipts[i].Err = err
		} else {
			receipts[i] = s.receipts[n]
		}
	}
}
