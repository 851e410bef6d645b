package redislog

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

func wanting(d streams.Draft, level streams.Durability) streams.Draft {
	d.Durability = level
	return d
}

// reaches appends one draft that must reach its durability.
func reaches(t testing.TB, l *Log, d streams.Draft) streams.Receipt {
	t.Helper()
	r := l.Append(t.Context(), []streams.Draft{d})[0]
	if r.Err != nil || r.Durability != max(d.Durability, streams.Logged) {
		t.Fatalf("receipt %+v of a draft that wants %q", r, d.Durability)
	}
	return r
}

// A replicated event is in the replica before its publisher gets the receipt, also if the
// event was stored earlier and is only repeated. While no replica answers, the event is
// logged and live, and the receipt says ErrNotDurable.
func TestReplicated(t *testing.T) {
	primary := redistest.StartProcess(t)
	replica := redistest.StartReplica(t, primary)
	l := open(t, Options{URL: primary.URL(), Timeout: time.Second})
	reader := open(t, Options{URL: primary.URL()})
	feed := follow(t, reader, "r")
	onReplica := func() int64 {
		n, err := replica.Client().XLen(t.Context(), l.partitions[0].Stream("r")).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	for n := range 50 {
		r := reaches(t, l, wanting(keyed("r", "1", fmt.Sprint(n)), streams.Replicated))
		if got := onReplica(); got != int64(n+1) {
			t.Fatalf("the replica has %d events after %d were replicated", got, n+1)
		}
		nextIs(t, feed, r.ID)
	}

	replica.Pause()
	var unsafe streams.Receipt
	for range 2 { // the repeat waits too
		unsafe = l.Append(t.Context(), []streams.Draft{wanting(keyed("r", "2", "late"), streams.Replicated)})[0]
		if !errors.Is(unsafe.Err, streams.ErrNotDurable) || unsafe.ID.IsZero() || unsafe.Durability != 0 {
			t.Fatalf("receipt %+v, want ErrNotDurable and an id", unsafe)
		}
	}
	nextIs(t, feed, unsafe.ID)
	reaches(t, l, draft("r", "3")) // a draft that asks for less does not wait
	replica.Resume()
	eventually(t, "the replica is back", func() bool {
		r := l.Append(t.Context(), []streams.Draft{wanting(keyed("r", "2", "late"), streams.Replicated)})[0]
		if r.ID != unsafe.ID {
			t.Fatalf("the repeat has id %s, the first had %s", r.ID, unsafe.ID)
		}
		return r.Err == nil && r.Replayed && r.Durability == streams.Replicated
	})
	if got := onReplica(); got != 52 {
		t.Errorf("the replica has %d events, want 52", got)
	}
}

// If two replicas are required, one is not enough.
func TestReplicas(t *testing.T) {
	primary := redistest.StartProcess(t)
	redistest.StartReplica(t, primary)
	l := open(t, Options{URL: primary.URL(), Timeout: time.Second, Replicas: 2, Durability: streams.Replicated})
	if r := l.Append(t.Context(), []streams.Draft{draft("r", "1")})[0]; !errors.Is(r.Err, streams.ErrNotDurable) {
		t.Errorf("with one replica of two: %+v", r)
	}
	redistest.StartReplica(t, primary)
	eventually(t, "both replicas have it", func() bool {
		r := l.Append(t.Context(), []streams.Draft{draft("r", "1")})[0]
		return r.Err == nil && r.Durability == streams.Replicated
	})
}

// Drafts of one append may ask for different durabilities, and publishers share calls. Each
// draft gets its durability, and a room keeps its order.
func TestDurabilitiesMixed(t *testing.T) {
	primary := redistest.StartWith(t, redistest.Options{Newer: true, Args: []string{"--appendonly", "yes", "--appendfsync", "everysec"}})
	redistest.StartReplica(t, primary)
	l := open(t, Options{URL: primary.URL()})
	levels := []streams.Durability{0, streams.Logged, streams.Replicated, streams.Fsynced}
	const publishers, each = 8, 20
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for n := range each {
				// Few of them wait for a disk that is written to once a second.
				drafts := []streams.Draft{draft("r", "1"), wanting(draft("r", "2"), levels[n%3])}
				if n == p {
					drafts = append(drafts, wanting(draft("r", "3"), streams.Fsynced))
				}
				receipts := l.Append(t.Context(), drafts)
				for i, r := range receipts {
					if r.Err != nil || r.Durability < max(drafts[i].Durability, streams.Logged) {
						t.Errorf("receipt %+v of a draft that wants %q", r, drafts[i].Durability)
					}
					if i > 0 && !receipts[i-1].ID.Before(r.ID) {
						t.Errorf("ids %s and %s of one append", receipts[i-1].ID, r.ID)
					}
				}
			}
		})
	}
	publishing.Wait()
	events := all(t, l, "r")
	if want := publishers * (2*each + 1); len(events) != want {
		t.Errorf("%d events, want %d", len(events), want)
	}
	for i := 1; i < len(events); i++ {
		if events[i].Prev != events[i-1].ID {
			t.Fatalf("event %d has Prev %s, want %s", i, events[i].Prev, events[i-1].ID)
		}
	}
}

// A fsynced event is in the file before its publisher gets the receipt. It survives a
// killed process.
func TestFsyncedSurvivesKill(t *testing.T) {
	server := redistest.StartWith(t, redistest.Options{Newer: true, Args: []string{"--appendonly", "yes", "--appendfsync", "everysec"}})
	l := open(t, Options{URL: server.URL(), Durability: streams.Fsynced})
	var want []streams.ID
	for range 5 {
		var publishing sync.WaitGroup
		ids := make([]streams.ID, 16)
		for i := range ids {
			publishing.Go(func() {
				r := l.Append(t.Context(), []streams.Draft{draft("r", "1")})[0]
				if r.Err != nil || r.Durability != streams.Fsynced {
					t.Errorf("receipt %+v", r)
				}
				ids[i] = r.ID
			})
		}
		publishing.Wait()
		want = append(want, ids...)
		server.Kill()
		server.Restart()
	}
	have := map[streams.ID]bool{}
	for _, e := range all(t, open(t, Options{URL: server.URL()}), "r") {
		have[e.ID] = true
	}
	for _, id := range want {
		if !have[id] {
			t.Errorf("event %s was fsynced and is gone", id)
		}
	}
}

// If Redis cannot wait for its disk, Open fails if that is the default durability. A draft
// that asks for it is refused and not stored.
func TestFsyncedUnsupported(t *testing.T) {
	for name, server := range map[string]*redistest.Server{
		"Redis 7.0":          redistest.StartProcess(t, "--appendonly", "yes"),
		"no appendonly file": redistest.StartNewer(t),
	} {
		if _, err := Open(t.Context(), Options{URL: server.URL(), Durability: streams.Fsynced}); !errors.Is(err, streams.ErrDurability) {
			t.Errorf("%s: Open = %v, want ErrDurability", name, err)
		} else if !strings.Contains(err.Error(), "appendonly") {
			t.Errorf("%s: %v does not say what to do", name, err)
		}
		l := open(t, Options{URL: server.URL()})
		refusedBy(t, l, wanting(draft("r", "1"), streams.Fsynced), streams.ErrDurability)
		if n := len(all(t, l, "r")); n != 0 {
			t.Errorf("%s: %d events", name, n)
		}
	}
}
