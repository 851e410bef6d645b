package recovery

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	attemptTimeout = 5 * time.Second        // for the answer to one publish
	retryDelay     = 200 * time.Millisecond // between two attempts
	publishTimeout = 2 * time.Minute        // for all attempts of one event
)

// A publisher sends numbered events, one after the other. It repeats each until a node
// acknowledges it. It uses one node until that fails, and then the other.
type publisher struct {
	system  peer
	room    string
	addrs   []string // of the nodes
	node    int      // index of the node in use
	size    int      // bytes of padding in each event
	sent    int      // number of the last acknowledged event
	retries int      // attempts that failed
	client  http.Client
}

// publish publishes the next count events, with a pause after each.
func (p *publisher) publish(ctx context.Context, count int, pause time.Duration) error {
	for range count {
		if err := p.publishOne(ctx); err != nil {
			return err
		}
		if pause > 0 {
			time.Sleep(pause)
		}
	}
	return nil
}

// publishUntil publishes until stop is closed.
func (p *publisher) publishUntil(ctx context.Context, stop <-chan struct{}, pause time.Duration) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := p.publish(ctx, 1, pause); err != nil {
			return err
		}
	}
}

func (p *publisher) publishOne(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	n := p.sent + 1
	data := fmt.Sprintf(`{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", p.size))
	for {
		err := p.attempt(ctx, n, data)
		if err == nil {
			p.sent = n
			return nil
		}
		p.retries++
		p.node = (p.node + 1) % len(p.addrs)
		select {
		case <-time.After(retryDelay):
		case <-ctx.Done():
			return fmt.Errorf("publish event %d: %w; the last attempt: %w", n, ctx.Err(), err)
		}
	}
}

func (p *publisher) attempt(ctx context.Context, n int, data string) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	request := p.system.publish(p.addrs[p.node], p.room, data, fmt.Sprintf("key-%d", n))
	answer, err := p.client.Do(request.WithContext(ctx))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 || !p.system.acknowledged(string(body)) {
		return fmt.Errorf("the node answered %s: %s", answer.Status, body)
	}
	return nil
}
