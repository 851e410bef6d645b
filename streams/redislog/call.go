package redislog

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
	"github.com/tidemark/tidemark/streams/redislog/internal/scripts"
)

// callHead is the number of words of a call before the keys: the command, the script and
// the number of keys.
const callHead = 3

// appendCall returns the words of a call of scripts.Append. The caller sets the first two,
// the command and the script.
func (s *store) appendCall(p *partition, known []knownEvent, drafts []*streams.Draft) []any {
	call := make([]any, callHead, callHead+6+3*len(known)+len(drafts)*(3+scripts.ArgsPerDraft))
	for _, key := range p.lossKeys(known) {
		call = append(call, key)
	}
	for _, d := range drafts {
		call = append(call, p.Stream(d.Room), p.Tail(d.Room))
		if d.Key != "" {
			call = append(call, p.Record(d.Room, d.Key))
		}
	}
	call[2] = len(call) - callHead
	call = append(call, p.lossArgs(len(s.partitions), known)...)
	call = append(call, millis(s.opt.KeyLife), rand.Uint32())
	for _, d := range drafts {
		call = append(call, p.Channel(d.Room), d.Type, d.Data, fingerprint(d),
			strconv.Itoa(d.Retention.Events), millis(max(d.Retention.Age, time.Millisecond)), string(d.Trace), onlyExisting(d))
	}
	return call
}

func onlyExisting(d *streams.Draft) string {
	if d.ExistingRoom {
		return "1"
	}
	return ""
}

// fingerprint is empty for a draft without a key.
func fingerprint(d *streams.Draft) string {
	if d.Key == "" {
		return ""
	}
	sum := d.Fingerprint()
	return hex.EncodeToString(sum[:])
}

// receipts reads the reply of scripts.Append. If err is not nil, all receipts have it.
func (p *partition) receipts(drafts []*streams.Draft, reply any, err error) []streams.Receipt {
	receipts := make([]streams.Receipt, len(drafts))
	results, _ := reply.([]any)
	if err == nil && len(results) != 1+2*len(drafts) {
		err = fmt.Errorf("%w: Redis returned %d results for %d drafts", streams.ErrUnavailable, len(results)/2, len(drafts))
	}
	for i, d := range drafts {
		if err != nil {
			receipts[i].Err = rediserr.Appending(err)
		} else {
			receipts[i] = p.receipt(d, results[1+2*i], results[2+2*i])
		}
	}
	return receipts
}

// receipt reads the result of one draft, and records the id of a stored one.
func (p *partition) receipt(d *streams.Draft, result, detail any) streams.Receipt {
	text, _ := detail.(string)
	switch result {
	case int64(scripts.Stored), int64(scripts.StoredNew), int64(scripts.Replayed):
		id, err := entry.ParsePosition(text, p.ID)
		if err != nil {
			return streams.Receipt{Err: fmt.Errorf("%w: %w", streams.ErrUnavailable, err)}
		}
		r := streams.Receipt{ID: id, Replayed: result == int64(scripts.Replayed), NewRoom: result == int64(scripts.StoredNew)}
		if d.Retention.Events > 0 {
			r.Durability = streams.Logged
		}
		if !r.Replayed {
			p.handedOut(id)
		}
		return r
	case int64(scripts.KeyReused):
		return streams.Receipt{Err: streams.ErrKeyReused}
	case int64(scripts.NewRoom):
		return streams.Receipt{Err: streams.ErrNewRoom}
	case int64(scripts.Refused):
		return streams.Receipt{Err: fmt.Errorf("%w: %s", streams.ErrRefused, text)}
	default:
		return streams.Receipt{Err: fmt.Errorf("%w: Redis returned the unknown result %v", streams.ErrUnavailable, result)}
	}
}

// newestStored returns the last draft that this call logged; zero for none.
func newestStored(drafts []*streams.Draft, receipts []streams.Receipt) knownEvent {
	for i, r := range slices.Backward(receipts) {
		if r.Err == nil && !r.Replayed && drafts[i].Retention.Events > 0 {
			return knownEvent{room: drafts[i].Room, id: r.ID}
		}
	}
	return knownEvent{}
}

// once is a command that the client sends at most once. It repeats other commands when the
// connection fails, and an append without a key would then be stored twice.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }
