package fault_test

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/wait"
)

// A fault is one kind of fault to inject.
type fault struct {
	name string

	// do injects the fault, waits, and ends it.
	do func(w *system, r *rand.Rand)
}

// inject runs a fault and records it in the timeline.
func (w *system) inject(f fault, r *rand.Rand) {
	w.logf("begins: %s", f.name)
	w.mu.Lock()
	w.injected[f.name]++
	w.mu.Unlock()
	f.do(w, r)
	w.logf("ends: %s", f.name)
}

// between returns a random duration.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// someNode picks a node.
func (w *system) someNode(r *rand.Rand) *node { return w.nodes[r.IntN(len(w.nodes))] }

// killableNode picks any node but the first, which lives through the whole run so that a
// leak becomes visible.
func (w *system) killableNode(r *rand.Rand) *node { return w.nodes[1+r.IntN(len(w.nodes)-1)] }

// edgeFaults are faults between clients and nodes.
func edgeFaults() []fault {
	return []fault{
		{"nginx and a node: slow", func(w *system, r *rand.Rand) {
			w.someNode(r).link.applyFor(slow(50+r.IntN(200)), between(r, time.Second, 3*time.Second))
		}},
		{"nginx and a node: narrow", func(w *system, r *rand.Rand) {
			w.someNode(r).link.applyFor(throttled(50), between(r, time.Second, 3*time.Second))
		}},
		{"nginx and a node: cut", func(w *system, r *rand.Rand) { w.someNode(r).link.cut() }},
		{"nginx and a node: black hole", func(w *system, r *rand.Rand) {
			w.someNode(r).link.applyFor(blackHole(), between(r, time.Second, 6*time.Second))
		}},
		{"clients and nginx: slow", func(w *system, r *rand.Rand) {
			w.edge.clients.applyFor(slow(50+r.IntN(200)), between(r, time.Second, 3*time.Second))
		}},
		{"clients and nginx: narrow", func(w *system, r *rand.Rand) {
			w.edge.clients.applyFor(throttled(50), between(r, time.Second, 3*time.Second))
		}},
		{"clients and nginx: cut", func(w *system, r *rand.Rand) { w.edge.clients.cut() }},
		{"nginx reloads", func(w *system, r *rand.Rand) { w.edge.reload() }},
		{"nginx killed", func(w *system, r *rand.Rand) {
			w.edge.kill()
			time.Sleep(between(r, 0, 500*time.Millisecond))
			w.edge.start()
		}},
	}
}

// nodeFaults are faults of nodes.
func nodeFaults() []fault {
	return []fault{
		{"node stops for a while", func(w *system, r *rand.Rand) {
			n := w.someNode(r)
			n.pause()
			time.Sleep(between(r, 500*time.Millisecond, 6*time.Second))
			n.resume()
		}},
		{"node killed -9", func(w *system, r *rand.Rand) {
			n := w.killableNode(r)
			n.kill()
			time.Sleep(between(r, 0, time.Second))
			n.start()
		}},
		{"node drained and started", func(w *system, r *rand.Rand) {
			n := w.killableNode(r)
			n.drain()
			n.start()
		}},
	}
}

// applyFor applies a condition for a time.
func (l *link) applyFor(m condition, d time.Duration) {
	l.inject(m)
	time.Sleep(d)
	l.heal()
}

// closeFor refuses all connections for a time.
func (l *link) closeFor(d time.Duration) {
	l.close()
	time.Sleep(d)
	l.open()
}

// linkFaults are faults between a node and its Redis.
func linkFaults() []fault {
	return []fault{
		{"node and Redis: slow", func(w *system, r *rand.Rand) {
			w.someNode(r).redis.applyFor(slow(20+r.IntN(150)), between(r, time.Second, 3*time.Second))
		}},
		{"node and Redis: narrow", func(w *system, r *rand.Rand) {
			w.someNode(r).redis.applyFor(throttled(30), between(r, time.Second, 3*time.Second))
		}},
		{"node and Redis: cut", func(w *system, r *rand.Rand) {
			n := w.someNode(r)
			n.redis.cut()
			w.measureRecovery(n)
		}},
		{"node and Redis: refused", func(w *system, r *rand.Rand) {
			n := w.someNode(r)
			n.redis.closeFor(between(r, 500*time.Millisecond, 4*time.Second))
			w.measureRecovery(n)
		}},
		{"node and Redis: black hole", func(w *system, r *rand.Rand) {
			n := w.someNode(r)
			n.redis.applyFor(blackHole(), between(r, time.Second, 8*time.Second))
			w.measureRecovery(n)
		}},
	}
}

// faults implements deployment.
func (s *standalone) faults() []fault {
	return append(linkFaults(),
		fault{"CLIENT KILL TYPE pubsub", func(w *system, r *rand.Rand) { s.say(w, "CLIENT", "KILL", "TYPE", "pubsub") }},
		fault{"CLIENT KILL TYPE normal", func(w *system, r *rand.Rand) { s.say(w, "CLIENT", "KILL", "TYPE", "normal") }},
		fault{"SCRIPT FLUSH", func(w *system, r *rand.Rand) { s.say(w, "SCRIPT", "FLUSH") }},
		fault{"tiny output buffer", func(w *system, r *rand.Rand) {
			s.say(w, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 4096 0 0")
			time.Sleep(between(r, time.Second, 2*time.Second))
			s.say(w, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60")
		}},
		fault{"maxmemory reached", func(w *system, r *rand.Rand) {
			s.say(w, "CONFIG", "SET", "maxmemory", "1")
			time.Sleep(between(r, time.Second, 3*time.Second))
			s.say(w, "CONFIG", "SET", "maxmemory", "0")
		}},
		fault{"Redis stops for a while", func(w *system, r *rand.Rand) {
			s.server.Pause()
			time.Sleep(between(r, 500*time.Millisecond, 6*time.Second))
			s.server.Resume()
			w.measureRecovery(w.nodes...)
		}},
		fault{"Redis killed -9", func(w *system, r *rand.Rand) {
			if s.fsync != "always" {
				w.lose(false)
			}
			s.server.Kill()
			time.Sleep(between(r, 0, 2*time.Second))
			s.server.Restart()
			w.measureRecovery(w.nodes...)
		}},
	)
}

// say sends Redis a command, which must succeed.
func (s *standalone) say(w *system, words ...any) { say(w, s.direct, words...) }

func say(w *system, c redis.UniversalClient, words ...any) {
	ctx, cancel := context.WithTimeout(context.Background(), wait.Limit)
	defer cancel()
	if err := c.Do(ctx, words...).Err(); err != nil {
		w.t.Errorf("%v: %v", words, err)
	}
}

// lossFaults implements deployment.
func (s *standalone) lossFaults() []fault {
	return []fault{
		{"FLUSHALL", func(w *system, r *rand.Rand) {
			w.lose(true)
			s.say(w, "FLUSHALL")
		}},
	}
}

// lose records that the next step may cost the log events of every partition.
func (w *system) lose(certain bool) {
	w.loseOf(certain, func(streams.Partition) bool { return true })
}

func (w *system) loseOf(certain bool, hits func(streams.Partition) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.losses = append(w.losses, loss{certain, hits})
}
