package conn

import (
	"time"

	"github.com/tidemark/tidemark/internal/backoff"
)

// The delays after which a connection asks a log again that did not answer.
const (
	firstRetry = 100 * time.Millisecond
	maxRetry   = 5 * time.Second
)

// A Retry asks the log again, with increasing delays, while it does not answer. The zero
// Retry stands for a log that answers.
type Retry struct {
	backoff *backoff.Backoff // nil while the log answers
	timer   *time.Timer
}

// Schedule calls ask after the next delay, instead of a call that is still scheduled. first
// reports whether the log answered before.
func (r *Retry) Schedule(ask func()) (first bool) {
	if first = r.backoff == nil; first {
		r.backoff = &backoff.Backoff{First: firstRetry, Max: maxRetry}
	} else {
		r.timer.Stop() // something else has woken the task
	}
	r.timer = time.AfterFunc(r.backoff.Next(), ask)
	return first
}

// Active reports whether the log failed to answer the last time.
func (r *Retry) Active() bool { return r.backoff != nil }

// Stop cancels the scheduled call: the log answers, or the connection ends.
func (r *Retry) Stop() {
	if r.backoff != nil {
		r.timer.Stop()
		*r = Retry{}
	}
}
