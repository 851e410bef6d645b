package fault_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"github.com/tidemark/tidemark/tests/redistest"
)

// A line is a proxy between two parties of a world, on which harm can be done. Its
// methods are for one goroutine at a time.
type line struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	addr  string    // host:port to connect to; it stays
	moods [2]*moody // one for each direction
}

// newLine starts a line to target, host:port, which ends with the test.
func newLine(t *testing.T, target string) *line {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &line{t: t, proxy: toxiproxy.NewProxy(server, target, redistest.FreeAddr(t), target)}
	for i, direction := range []string{"upstream", "downstream"} {
		text := fmt.Sprintf(`{"type":%q,"stream":%q}`, moodyName, direction)
		added, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		l.moods[i] = added.Toxic.(*moody)
	}
	l.heal()
	l.addr = l.proxy.Listen
	l.open()
	t.Cleanup(l.close)
	return l
}

// close ends all connections, and none is accepted any more.
func (l *line) close() { l.proxy.Stop() }

func (l *line) open() {
	l.t.Helper()
	if err := l.proxy.Start(); err != nil {
		l.t.Errorf("open the line to %s: %v", l.proxy.Upstream, err)
	}
}

// cut ends all connections.
func (l *line) cut() {
	l.t.Helper()
	l.close()
	l.open()
}

// harm does m to both directions, from now on, and heal takes it away.
func (l *line) harm(m mood) {
	for _, x := range l.moods {
		x.turn(m)
	}
}

func (l *line) heal() { l.harm(mood{}) }

// A mood is what a line does to what goes through it. The zero mood does nothing.
type mood struct {
	delay time.Duration // give or take half of it
	rate  int           // bytes a second; 0 for any number

	// hole swallows everything. Connections that have lost something end when the
	// mood changes.
	hole bool

	over chan struct{} // closed when the mood changes
}

func slow(ms int) mood   { return mood{delay: time.Duration(ms) * time.Millisecond} }
func narrow(kb int) mood { return mood{rate: kb << 10} }
func blackHole() mood    { return mood{hole: true} }

// moodyName is what toxiproxy calls moody.
const moodyName = "moody"

// moody is a toxic that stays on its line and changes its mood. toxiproxy's own have
// to be added and removed, and a connection that breaks while they are keeps both
// that and the whole line waiting for ever.
type moody struct{ mood atomic.Pointer[mood] }

// GetBufferSize implements toxics.BufferedToxic: what is delayed must not hold up
// what comes after it.
func (x *moody) GetBufferSize() int { return 1024 }

func (x *moody) turn(m mood) {
	m.over = make(chan struct{})
	if old := x.mood.Swap(&m); old != nil {
		close(old.over)
	}
}

// Pipe implements toxics.Toxic for one connection.
func (x *moody) Pipe(stub *toxics.ToxicStub) {
	lost := false
	for {
		m := x.mood.Load()
		if lost && !m.hole {
			break
		}
		select {
		case <-stub.Interrupt:
			return
		case <-m.over:
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			if m.hole {
				lost = true
				continue
			}
			m.hold(c)
			stub.Output <- c
		}
	}
	stub.Close()
	for range stub.Input { // or whoever still writes would wait for ever
	}
}

// hold waits for as long as the mood holds c, or lasts.
func (m *mood) hold(c *stream.StreamChunk) {
	wait := time.Duration(0)
	if m.delay > 0 {
		wait = m.delay/2 + rand.N(m.delay) - time.Since(c.Timestamp)
	}
	if m.rate > 0 {
		wait += time.Duration(len(c.Data)) * time.Second / time.Duration(m.rate)
	}
	if wait <= 0 {
		return
	}
	select {
	case <-time.After(wait):
	case <-m.over:
	}
}
