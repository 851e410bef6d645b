package redislog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

const (
	// probeEvery is the time between probes, and the time after which one counts as lost.
	// A probe costs Redis about 10 µs for each node and partition.
	probeEvery = 5 * time.Second

	// probeTimeout bounds the sending of a probe. A session that has lost its connection
	// ends only when its probe has ended, and the next session begins then.
	probeTimeout = time.Second
)

// errUnexpected reports a confirmation of Redis that answers no command.
var errUnexpected = errors.New("confirmation of a command that was not sent")

// A feedProbe measures the delay of a session. It publishes on its own channel and
// receives the message on the connection that carries the events, after the events that
// wait there. It uses only this process's clock.
type feedProbe struct {
	// Fixed by newFeedProbe.
	store     *store
	p         *partition
	channel   string
	confirmed chan struct{} // closed when the channel is subscribed

	mu     sync.Mutex // guards the fields below
	sent   uint64     // number of probes
	sentAt time.Time  // of the last probe; zero once it has come back
}

func newFeedProbe(s *store, p *partition) *feedProbe {
	return &feedProbe{
		store: s, p: p, channel: p.FeedProbe(strconv.FormatUint(rand.Uint64(), 36)),
		confirmed: make(chan struct{}),
	}
}

// confirm records that the channel is subscribed. Any further confirmation is an error.
func (f *feedProbe) confirm(m *redis.Subscription) error {
	select {
	case <-f.confirmed:
		return fmt.Errorf("%s of %q: %w", m.Kind, m.Channel, errUnexpected)
	default:
	}
	if m.Kind != "ssubscribe" {
		return fmt.Errorf("%s of %q: %w", m.Kind, m.Channel, errUnexpected)
	}
	close(f.confirmed)
	return nil
}

// next records that a probe is being sent, and returns its text. lost reports whether the
// probe before it has not come back.
func (f *feedProbe) next() (text string, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lost = !f.sentAt.IsZero()
	f.sent++
	f.sentAt = time.Now()
	return strconv.FormatUint(f.sent, 10), lost
}

// lag returns the delay of the probe with that text. ok is false for any other message
// than the last probe.
func (f *feedProbe) lag(text string) (lag time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sentAt.IsZero() || text != strconv.FormatUint(f.sent, 10) {
		return 0, false
	}
	lag = time.Since(f.sentAt)
	f.sentAt = time.Time{}
	return lag, true
}

// run sends probes to node until ctx ends.
func (f *feedProbe) run(ctx context.Context, node *redis.Client) {
	select {
	case <-f.confirmed:
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		text, lost := f.next()
		if lost {
			f.store.metrics.probesLost.Inc()
		}
		sending, cancel := context.WithTimeout(ctx, min(f.store.opt.Timeout, probeTimeout))
		_ = node.SPublish(sending, f.channel, text).Err() // a failed probe counts as lost
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// received records a probe that came back.
func (f *feedProbe) received(text string) {
	lag, ok := f.lag(text)
	if !ok {
		return
	}
	f.store.metrics.probes.Observe(lag.Seconds())
	f.p.probe.Store(&streams.FeedProbe{Lag: lag, At: time.Now()})
}
