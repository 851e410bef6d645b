package fault_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/program"
)

// exposed are the limits of a node that strangers can reach: docs/security.md quotes them.
// A row of the table adds its own flags.
var exposed = []string{
	"--max-connections=10000",
	"--max-connections-per-address=100",
	"--publish-rate-per-address=100/s,1000",
	"--read-rate-per-address=50/s,500",
	"--new-room-rate=10/s,100",
	"--max-followed-rooms=100000",
	"--max-messages=50",
}

const (
	// nodeMemory is the memory of the machine or container, in bytes. The node must never
	// hold more.
	nodeMemory = 1 << 30

	// heapLimit is the GOMEMLIMIT of a node in nodeMemory.
	heapLimit = "900MiB"

	// slower is the factor by which an attack may raise the p99 of a stranger.
	slower = 5

	// latencyFloor replaces a smaller undisturbed p99. On two processors, the node, Redis
	// and the strangers run at the same time. Under an attack all of them are busy, and
	// each waits for its turn: the kernel gives a turn of about 3 ms, a publish needs four
	// (node, Redis, node, stranger), and the node's garbage collector may take another.
	// The undisturbed p99 is shorter only because the processors are idle. With the
	// factor, 100 ms is allowed in any case: people do not notice a shorter delay.
	latencyFloor = 20 * time.Millisecond

	// liveLimit bounds the answer of /livez.
	liveLimit = time.Second

	// recoverTime is the time after an attack until the node's memory must be back.
	recoverTime = time.Minute

	// residentLeft is the memory in bytes by which a node may exceed 1.2 times its memory
	// before the attack. A busy runtime does not return all memory at once.
	residentLeft = heapLeft
)

// A logKind is the log that a node keeps its events in.
type logKind string

const (
	inRedis    logKind = "Redis"
	inEmbedded logKind = "embedded log"
)

// A costAttack is a row of the table: attackers who make a node pay.
type costAttack struct {
	name  string
	log   logKind
	auth  bool     // the node asks for credentials
	tls   bool     // the node serves TLS
	flags []string // of the node, in addition to exposed
	fill  fill     // of the log, before the node starts
	half  bool     // half a minute in the full run: two rows share one attack
	extra bool     // only in the full run, and for a shorter time

	// run attacks until ctx ends, and returns when all its goroutines have ended. It
	// runs in a process of its own.
	run func(context.Context, *attackers)
}

// lasts is the duration of the attack.
func (a costAttack) lasts() time.Duration {
	switch {
	case a.extra:
		return 6 * time.Second
	case a.half:
		return inCut(4*time.Second, 30*time.Second)
	}
	return inCut(8*time.Second, time.Minute)
}

// quantile is the quantile of the strangers' latencies that is bounded: the p99 of a minute.
// A shorter attack leaves out as much time, 0.6 s: all attackers begin at the same time.
func (a costAttack) quantile() float64 {
	return 1 - 0.01*float64(time.Minute)/float64(a.lasts())
}

// calmTime is the duration of the measurement before the attack.
func (a costAttack) calmTime() time.Duration {
	if a.extra {
		return 2 * time.Second
	}
	return inCut(2*time.Second, 4*time.Second)
}

// No client can hurt a node of 1 GiB. During each attack the node stays within its memory,
// answers /livez, refuses no stranger and delivers everything to strangers. In the full run
// strangers wait at most slower times as long as before, and the memory is back after
// recoverTime. A cut shares the machine with other packages, so it allows longer waits, and
// does not wait for the memory.
//
// The test asserts latencies, although other tests must not: they are its subject. The
// bounds are relative to the latencies of the same node just before.
func TestAttacks(t *testing.T) {
	logs := newAttackLogs(t, unracedProgram(t))
	var recoveries []<-chan error
	var rows attackRows
	for _, a := range costAttacks() {
		if a.extra && !thorough() {
			continue
		}
		t.Run(strings.ReplaceAll(a.name, " ", "_"), func(sub *testing.T) {
			v := newVictim(sub, logs, a)
			defer v.end()
			rows = append(rows, v.attack(a))
			if thorough() {
				recoveries = append(recoveries, v.recovery())
			}
		})
	}
	if err := rows.publish(); err != nil {
		t.Error(err)
	}
	for _, r := range recoveries {
		if err := <-r; err != nil {
			t.Error(err)
		}
	}
}

// unracedProgram returns the program without the race detector, which multiplies its memory.
func unracedProgram(t *testing.T) program.Program {
	t.Helper()
	if thorough() {
		return tidemark
	}
	p, remove, err := program.Build()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	return p
}

// attack measures the strangers' latencies, attacks, and checks the bounds.
func (v *victim) attack(a costAttack) attackRow {
	v.t.Helper()
	s := newStrangers(v)
	defer s.leave()
	calm := s.measure(v.t.Context(), a.calmTime())
	v.before = v.memory.resident()

	plan := v.plan(a)
	var by attackReport
	var failed error
	var attacking sync.WaitGroup
	attacking.Go(func() { by, failed = plan.run(v.t.Context()) })
	attacking.Go(func() { v.memory.profileProcessor(v.t, a.lasts()) })
	stormy := s.measure(v.t.Context(), a.lasts())
	attacking.Wait()
	if failed != nil {
		v.t.Error(failed)
	}

	lost := s.conclude()
	peak := v.memory.peak()
	v.t.Logf("%s; %s\n  attackers: %s\n  resident: %s before, %s at most; in socket buffers of the machine %s at most\n  before: %s\n  during: %s\n  deliveries to strangers: %d",
		a.name, a.log, by, megabytes(float64(v.before)), megabytes(float64(peak)),
		megabytes(float64(v.memory.socketPeak())), calm, stormy, s.delivered())
	for _, note := range by.Notes {
		v.t.Log(note)
	}
	for _, fault := range slices.Concat(lost, by.Faults) {
		v.t.Error(fault)
	}
	if by.Connections == 0 {
		v.t.Error("no attacker reached the node")
	}
	if peak > nodeMemory {
		v.t.Errorf("the node held %s", megabytes(float64(peak)))
		v.memory.explain(v.t)
	}
	q := a.quantile()
	v.bound(fmt.Sprintf("publish p%.0f", 100*q), stormy.publish.quantile(q), slower*max(calm.publish.p99(), latencyFloor))
	v.bound(fmt.Sprintf("connect p%.0f", 100*q), stormy.connect.quantile(q), slower*max(calm.connect.p99(), latencyFloor))
	v.bound("/livez", stormy.livez.max(), liveLimit)
	return attackRow{a, peak, calm, stormy}
}

// bound fails the test if a stranger waited longer than limit.
func (v *victim) bound(what string, took, limit time.Duration) {
	v.t.Helper()
	if !thorough() {
		limit *= leniency
	}
	if took > limit {
		v.t.Errorf("%s: %v, want at most %v", what, took.Round(time.Millisecond), limit.Round(time.Millisecond))
	}
}

// recovery reports, when recoverTime has passed, whether the node has given its memory back.
// Other attacks run meanwhile, on other nodes.
func (v *victim) recovery() <-chan error {
	v.keep = true
	result := make(chan error, 1)
	go func() {
		defer v.server.Kill()
		time.Sleep(recoverTime)
		after := v.memory.resident()
		want := v.before + v.before/5 + residentLeft
		switch {
		case after == 0:
			result <- fmt.Errorf("%s: the node has ended", v.name)
		case after > want:
			result <- fmt.Errorf("%s: resident %s a minute later, want at most %s", v.name, megabytes(float64(after)), megabytes(float64(want)))
		default:
			result <- nil
		}
	}()
	return result
}
