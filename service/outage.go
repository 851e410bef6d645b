package service

import (
	"errors"
	"sync"

	"github.com/tidemark/tidemark/streams"
)

// outages counts the times in which the log, or a partition of it, did not answer
// this node. Connections are told of each once.
type outages struct {
	mu   sync.Mutex // guards the fields below
	away int        // partitions that do not answer
	id   uint64     // of the present outage, or of the last one
}

func (o *outages) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away == 0 {
		o.id++
	}
	o.away++
}

func (o *outages) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away--
}

func (o *outages) present() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.id
}

// Outage returns a number for the present outage of the log, as far as it concerns
// the subscription's rooms: another one each time, and 0 while the log answers. What
// the node holds in memory is delivered all the same, and all else when the log is
// back. notify is called when an outage begins.
func (s *Subscription) Outage() uint64 {
	for _, l := range s.legs {
		if l.pump.away.Load() {
			return s.node.outages.present()
		}
	}
	return 0
}

// answered notes that the log answers.
func (p *pump) answered() {
	if p.away.Load() && p.away.CompareAndSwap(true, false) {
		p.outages.end()
		p.metrics.away.Dec()
		p.logger.Info("the log answers again")
	}
}

// unanswered notes that the log did not answer, if that is what err says, and has
// every connection look at it.
func (p *pump) unanswered(err error) {
	if !errors.Is(err, streams.ErrUnavailable) || !p.away.CompareAndSwap(false, true) {
		return
	}
	p.outages.begin()
	p.metrics.away.Inc()
	p.logger.Warn("the log does not answer", "error", err)
	for _, r := range p.all() {
		r.wake()
	}
}

// wake has every member's owner look whether there is something to take, or to know.
func (r *room) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		m.leg.sub.wake()
	}
}

func (s *Subscription) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.notified && !s.closed {
		s.notified = true
		s.notify()
	}
}
