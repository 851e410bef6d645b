package fault_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/require"
)

// counter counts from any goroutine.
type counter = atomic.Int64

// counts are the results of a run.
type counts struct {
	published, acknowledged, repeats counter
	connects, resumes                counter
	delivered, again                 counter // again: repeats that a lowered cursor causes
	missing, repeated, outOfOrder    counter
	unexpected                       counter // neither in the log nor acknowledged, or with another event's id
	lost, storedTwice                counter // acknowledged and not in the log; twice in the log
	owed, unowed                     counter // gap notices
	silence, lag, back, tail         counter // the longest, in nanoseconds
}

// A system is one Redis, the nodes on it, nginx in front of them, and all publishers and
// clients. Its parts end with the test.
type system struct {
	t     *testing.T
	name  string
	own   bool // it has its own column in the table
	seed  uint64
	keys  string // makes idempotency keys differ from those of other systems
	began time.Time
	log   deployment
	flags []string // of all nodes
	nodes []*node
	edge  *edge
	http  *http.Client
	rooms []*room // all rooms with publishers, including the broadcast room

	broadcast      *room
	fat            *room // of large events; nil for none
	probes         *room // only the system itself publishes here
	publisherCount atomic.Int64
	probed         int           // guarded by mu
	clockSlack     time.Duration // maximum difference of ids from the time of day
	dropsFrames    bool          // single messages of Redis are dropped
	held           *hold         // of a run that holds a load

	counts   counts
	settling atomic.Bool // all faults have ended: clients read at full speed and cut nothing

	mu       sync.Mutex // guards the fields below
	rng      *rand.Rand
	clients  []*client
	flagged  map[*client]string // clients with errors, and the first error of each
	timeline []string           // the injected faults, with times
	injected map[string]int     // faults, by name
	losses   []loss             // of this round
}

// A loss is a fault that may have cost the log events.
type loss struct {
	certain bool                         // it certainly has
	hits    func(streams.Partition) bool // whether it affects a partition
}

// A plan describes the parts of a system.
type plan struct {
	nodes int
	rooms int  // ordinary ones
	tiny  int  // rooms that keep few events
	fat   bool // whether there is a room of large events
	flags []string
}

// tinyKeep is the number of events that a tiny room keeps.
const tinyKeep = 300

// newSystem starts a system on its own log.
func newSystem(t *testing.T, name string, log deployment, p plan) *system {
	t.Helper()
	require.Program(t, "nginx")
	w := &system{
		t: t, name: name, seed: *seed, log: log, began: time.Now(), http: newHTTP(),
		flagged: map[*client]string{}, injected: map[string]int{},
	}
	w.keys = fmt.Sprintf("%x", w.began.UnixNano())
	w.rng = rand.New(rand.NewPCG(w.seed, 0))
	t.Logf("seed %d", w.seed)
	w.broadcast = w.newRoom(string(streams.BroadcastRoom), 100_000)
	w.probes = w.newRoom("probes", 100_000)
	for i := range p.rooms {
		w.newRoom("room-"+itoa(i), 100_000)
	}
	for i := range p.tiny {
		w.newRoom("tiny-"+itoa(i), tinyKeep)
	}
	if p.fat {
		w.fat = w.newRoom("fat", fatKeep)
	}
	w.flags = append([]string{
		"--redis-prefix=" + prefix, "--partitions=" + itoa(log.partitions()),
		"--retain=tiny-*=" + itoa(tinyKeep) + ",24h", "--retain=fat=" + itoa(fatKeep) + ",24h", "--retain=*=100000,24h",
	}, p.flags...)
	for i := range p.nodes {
		w.addNode("n"+itoa(i+1), w.flags)
	}
	t.Cleanup(w.http.CloseIdleConnections)
	t.Cleanup(w.keepArtifacts)
	t.Cleanup(w.stopClients)
	w.awaitReady()
	w.takeFootprints()
	w.edge = newEdge(t, w.nodes)
	for _, n := range w.nodes {
		n.probe = w.newClient("probe-"+n.name, behavior{over: overSSE, start: "since=now", at: n.addr}, w.probes)
	}
	return w
}

// addNode starts a node.
func (w *system) addNode(name string, flags []string) *node {
	w.t.Helper()
	return w.addNodeOf(tidemark, name, flags)
}

// addNodeOf starts a node of another build of the program.
func (w *system) addNodeOf(p program.Program, name string, flags []string) *node {
	w.t.Helper()
	reach, link := w.log.reach(w.t)
	n := newNode(w.t, p, name, append(reach, flags...)...)
	n.redis = link
	w.nodes = append(w.nodes, n)
	return n
}

func (w *system) newRoom(name string, keeps int) *room {
	r := &room{name: streams.Room(name), keeps: keeps}
	r.target.Store(new(streams.ID))
	r.partition = r.name.Partition(w.log.partitions())
	w.rooms = append(w.rooms, r)
	return r
}

// newRand returns a source of random numbers for one goroutine.
func (w *system) newRand() *rand.Rand {
	w.mu.Lock()
	defer w.mu.Unlock()
	return rand.New(rand.NewPCG(w.seed, w.rng.Uint64()))
}

// now is the time since the system began.
func (w *system) now() time.Duration { return time.Since(w.began) }

// clock is the time of day, as in the logs of nodes.
func (w *system) clock() string { return w.timeOf(w.now()) }

func (w *system) timeOf(d time.Duration) string { return w.began.Add(d).UTC().Format("15:04:05.000") }

// logf adds a line to the timeline.
func (w *system) logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timeline = append(w.timeline, w.clock()+" "+fmt.Sprintf(format, args...))
}

// flag marks a client whose journal keepArtifacts keeps.
func (w *system) flag(c *client, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.flagged[c]; !known {
		w.flagged[c] = what
	}
}

// noteSilence records how long a connection was silent.
func (w *system) noteSilence(d time.Duration) { longest(&w.counts.silence, d) }

// longest sets c to d if d is longer.
func longest(c *counter, d time.Duration) {
	for {
		old := c.Load()
		if int64(d) <= old || c.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// allClients returns the clients of the system.
func (w *system) allClients() []*client {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*client(nil), w.clients...)
}

// stopClients ends all clients.
func (w *system) stopClients() {
	var leaving sync.WaitGroup
	for _, c := range w.allClients() {
		leaving.Go(c.leave)
	}
	leaving.Wait()
}

// ordinary returns the rooms with publishers, except the broadcast room and the fat one.
func (w *system) ordinary() []*room {
	return slices.DeleteFunc(slices.Clone(w.rooms), func(r *room) bool {
		return r == w.broadcast || r == w.probes || r == w.fat
	})
}

// awaitReady waits until every node says that it is ready.
func (w *system) awaitReady() {
	w.t.Helper()
	for _, n := range w.nodes {
		wait.Until(w.t, "node "+n.name+" to be ready", n.ready)
	}
}

// A deployment is the log of a system: Redis in one of its topologies, or the embedded log.
type deployment interface {
	topology() string
	partitions() int

	// reach returns the flags by which a node finds the log, and the link to it if the node
	// has its own.
	reach(t *testing.T) (flags []string, link *link)

	// keepsAcknowledged reports whether acknowledged events survive all faults but
	// lossFaults.
	keepsAcknowledged() bool

	// read returns the events of a room after a position, read directly.
	read(ctx context.Context, r *room, after streams.ID) ([]entry, error)

	// takeSeen returns the events that were stored in a room in this round, including lost
	// ones that no publisher or client may know.
	takeSeen(r *room) map[streams.ID]bool

	// faults are the faults of the log and of the nodes' connections to it.
	faults() []fault

	// lossFaults are faults that cost the log events, or may.
	lossFaults() []fault
}

// readLog reads a room's stream once Redis answers again.
func (w *system) readLog(r *room, after streams.ID) []entry {
	w.t.Helper()
	var all []entry
	var err error
	wait.Until(w.t, "the log to say what it has of "+string(r.name), func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		all, err = w.log.read(ctx, r, after)
		return err == nil
	})
	return all
}
