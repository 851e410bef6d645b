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
type link struct {
	t      *testing.T
	proxy  *toxiproxy.Proxy
	addr   string          // host:port to connect to; it stays
	toxics [2]*switchToxic // one for each direction
}

// newLink starts a line to target, host:port, which ends with the test.
func newLink(t *testing.T, target string) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{t: t, proxy: toxiproxy.NewProxy(server, target, redistest.FreeAddr(t), target)}
	for i, direction := range []string{"upstream", "downstream"} {
		text := fmt.Sprintf(`{"type":%q,"stream":%q}`, switchToxicName, direction)
		added, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		l.toxics[i] = added.Toxic.(*switchToxic)
	}
	l.heal()
	l.addr = l.proxy.Listen
	l.open()
	t.Cleanup(l.close)
	return l
}

// close ends all connections, and none is accepted any more.
func (l *link) close() { l.proxy.Stop() }

func (l *link) open() {
	l.t.Helper()
	if err := l.proxy.Start(); err != nil {
		l.t.Errorf("open the line to %s: %v", l.proxy.Upstream, err)
	}
}

// cut ends all connections.
func (l *link) cut() {
	l.t.Helper()
	l.close()
	l.open()
}

// inject does m to both directions, from now on, and heal takes it away.
func (l *link) inject(m condition) {
	for _, x := range l.toxics {
		x.set(m)
	}
}

func (l *link) heal() { l.inject(condition{}) }

// A mood is what a line does to what goes through it. The zero mood does nothing.
type condition struct {
	delay time.Duration // give or take half of it
	rate  int           // bytes a second; 0 for any number

	// hole swallows everything. Connections that have lost something end when the
	// condition changes.
	hole bool

	over chan struct{} // closed when the mood changes
}

func slow(ms int) condition      { return condition{delay: time.Duration(ms) * time.Millisecond} }
func throttled(kb int) condition { return condition{rate: kb << 10} }
func blackHole() condition       { return condition{hole: true} }

// switchToxicName is what toxiproxy calls moody.
const switchToxicName = "moody"

// switchToxic is a toxic that stays on its line and changes its mood. toxiproxy's own have
// to be added and removed, and a connection that breaks while they are keeps both
// that and the whole line waiting for ever.
type switchToxic struct{ condition atomic.Pointer[condition] }

// GetBufferSize implements toxics.BufferedToxic: what is delayed must not hold up
// what comes after it.
func (x *switchToxic) GetBufferSize() int { return 1024 }

func (x *switchToxic) set(m condition) {
	m.over = make(chan struct{})
	if old := x.condition.Swap(&m); old != nil {
		close(old.over)
	}
}

// Pipe implements toxics.Toxic for one connection.
func (x *switchToxic) Pipe(stub *toxics.ToxicStub) {
	lost := false
	for {
		m := x.condition.Load()
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
func (m *condition) hold(c *stream.StreamChunk) {
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
