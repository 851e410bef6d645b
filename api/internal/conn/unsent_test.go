package conn

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
)

// A stallRunner writes messages to a client that may not read. Shed and Run use its fields
// without a lock, so the race detector finds a Shed that overlaps with the task.
type stallRunner struct {
	Conn
	writes int // left
	size   int // of a write
	held   int
	sheds  []time.Time
}

// newStallRunner starts a runner that writes to the returned pipe, in a bubble of synctest.
func newStallRunner(pool *limits.MemoryPool, writes, size int) (r *stallRunner, client net.Conn) {
	client, server := net.Pipe()
	logger := slog.New(slog.DiscardHandler)
	env := &Env{
		Scheduler: NewScheduler(NewDeliveries()), Set: new(Set), InFlight: new(InFlight), Unsent: pool, Logger: logger,
		Problems:     problem.NewReporter(logger, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x"}, []string{"code"})),
		Cut:          context.Background(),
		WriteTimeout: 2 * time.Minute,
	}
	for p := range Protocols {
		env.Open[p] = prometheus.NewGauge(prometheus.GaugeOpts{Name: "y"})
	}
	r = &stallRunner{Conn: Conn{Env: env}, writes: writes, size: size, held: 1000}
	r.Init(r, server)
	r.Start()
	return r, client
}

func (r *stallRunner) Run(w *Worker) Result {
	switch {
	case r.Closed():
		return r.Finish(200, "")
	case r.writes == 0:
		return Idle
	}
	r.writes--
	return r.Send(w, make([]byte, r.size), Again)
}

func (r *stallRunner) Held() int { return r.held }
func (r *stallRunner) Shed()     { r.sheds = append(r.sheds, time.Now()) }

// A task drops the data that was read ahead when its client has not taken a write for a
// second, once per write, and then goes on as before.
func TestShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		r, client := newStallRunner(nil, 3, 500)
		time.Sleep(shedAfter / 2)
		_, _ = io.ReadFull(client, make([]byte, 500)) // in time
		time.Sleep(30 * time.Second)                  // the second write waits
		_, _ = io.ReadFull(client, make([]byte, 500))
		_, _ = io.ReadFull(client, make([]byte, 500))
		synctest.Wait()
		if len(r.sheds) != 1 || r.sheds[0].Sub(begun) != shedAfter/2+shedAfter {
			t.Errorf("shed at %v, begun at %v", r.sheds, begun)
		}
		client.Close()
	})
}

// The pool takes the share of the client that has read nothing for longest, and its
// connection ends. A client that has read meanwhile keeps its connection.
func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted := func() { // the pool counts what waits now
			time.Sleep(countAfter)
			synctest.Wait()
		}
		pool := limits.NewMemoryPool(3500) // a write of 500 with 1000 held fits twice
		reads, clientThatReads := newStallRunner(pool, 3, 500)
		counted()
		stalled, stalledClient := newStallRunner(pool, 1, 500)
		counted()
		_, _ = io.ReadFull(clientThatReads, make([]byte, 500))
		counted()
		later, laterClient := newStallRunner(pool, 1, 500)
		counted()
		for name, got := range map[string][2]bool{
			"that reads": {reads.Closed(), false}, "that stalled first": {stalled.Closed(), true}, "that stalled later": {later.Closed(), false},
		} {
			if got[0] != got[1] {
				t.Errorf("the connection of the client %s is closed: %v, want %v", name, got[0], got[1])
			}
		}
		if pool.Evicted() != 1 {
			t.Errorf("%d evictions, want 1", pool.Evicted())
		}
		for _, c := range []net.Conn{clientThatReads, stalledClient, laterClient} {
			c.Close()
		}
		synctest.Wait()
		if pool.Used() != 0 {
			t.Errorf("%d bytes are still counted", pool.Used())
		}
	})
}

// A client that takes its data slowly keeps its connection. The client that takes nothing
// loses its own, although its write began later.
func TestEvictionSparesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 * writePiece
		pool := limits.NewMemoryPool(3*size + 4*1000)
		var clients []net.Conn
		stall := func() *stallRunner {
			r, client := newStallRunner(pool, 1, size)
			clients = append(clients, client)
			time.Sleep(time.Second)
			return r
		}
		slow, stalled := stall(), stall()
		_, _ = io.ReadFull(clients[0], make([]byte, writePiece))
		stall()
		stall()
		synctest.Wait()
		if !stalled.Closed() || slow.Closed() {
			t.Errorf("the connection of the stalled client is closed: %v, of the slow one: %v; want true and false", stalled.Closed(), slow.Closed())
		}
		for _, c := range clients {
			c.Close()
		}
		synctest.Wait()
	})
}
