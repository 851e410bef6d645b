package redislog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// probeEvery is how often a feed's connection is probed, and for how long a probe is
// waited for. It costs Redis some 10 µs each time, for each node and partition.
const probeEvery = 5 * time.Second

// probeWait bounds the sending of a probe: a session that has lost its connection ends,
// and the next one begins, when its probe has.
const probeWait = time.Second

// A prober measures a session's delay: it publishes on a channel of its own, and hears
// that on the connection that brings the events, behind those that wait there to be read.
// Only this process's clock is asked.
type prober struct {
	// Fixed by newProber.
	channel   string
	confirmed chan struct{} // closed when the channel is subscribed

	mu   sync.Mutex // guards the fields below
	sent uint64     // how many probes
	at   time.Time  // when the last one was sent; zero when it has come back
}

func newProber(p *partition) *prober {
	return &prober{channel: p.probe(strconv.FormatUint(rand.Uint64(), 36)), confirmed: make(chan struct{})}
}

// confirm notes that the channel is subscribed. Nobody asked for the opposite.
func (p *prober) confirm(m *redis.Subscription) error {
	select {
	case <-p.confirmed:
		return fmt.Errorf("%s of %q: %w", m.Kind, m.Channel, errUnasked)
	default:
	}
	if m.Kind != "ssubscribe" {
		return fmt.Errorf("%s of %q: %w", m.Kind, m.Channel, errUnasked)
	}
	close(p.confirmed)
	return nil
}

// send notes that a probe is on its way, and returns what it says. lost says that the one
// before has not come back.
func (p *prober) send() (text string, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lost = !p.at.IsZero()
	p.sent++
	p.at = time.Now()
	return strconv.FormatUint(p.sent, 10), lost
}

// heard returns how long the probe took that says text; ok is false if that is not the
// last one sent, or somebody else's.
func (p *prober) heard(text string) (lag time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() || text != strconv.FormatUint(p.sent, 10) {
		return 0, false
	}
	lag = time.Since(p.at)
	p.at = time.Time{}
	return lag, true
}

// probe sends probes to node until ctx ends.
func (s *session) probe(ctx context.Context, node *redis.Client) {
	select {
	case <-s.prober.confirmed:
	case <-ctx.Done():
		return
	}
	again := time.NewTicker(probeEvery)
	defer again.Stop()
	for {
		text, lost := s.prober.send()
		if lost {
			s.f.log.metrics.probesLost.Inc()
		}
		sending, cancel := context.WithTimeout(ctx, min(s.f.log.opt.Timeout, probeWait))
		_ = node.SPublish(sending, s.prober.channel, text).Err() // then it does not come back
		cancel()
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// probed notes a probe that came back.
func (s *session) probed(text string) {
	lag, ok := s.prober.heard(text)
	if !ok {
		return
	}
	s.f.log.metrics.probes.Observe(lag.Seconds())
	s.f.p.probed.Store(&streams.FeedProbe{Lag: lag, At: time.Now()})
}

var _ streams.FeedProber = (*Log)(nil)

// FeedProbe implements streams.Prober.
func (l *Log) FeedProbe() (slowest streams.FeedProbe, ok bool) {
	for _, p := range l.partitions {
		switch last := p.probed.Load(); {
		case last == nil:
			return streams.FeedProbe{}, false
		case last.Lag >= slowest.Lag:
			slowest = *last
		}
	}
	return slowest, true
}
