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

// A link is a proxy between two parts of a system. It can apply a condition to the traffic.
// Its methods are for one goroutine at a time.
type link struct {
	t      *testing.T
	proxy  *toxiproxy.Proxy
	addr   string          // host:port to connect to; it never changes
	toxics [2]*switchToxic // one for each direction
}

// newLink starts a link to target, host:port. It ends with the test.
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

// close ends all connections and refuses new ones.
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

// inject applies m to both directions until heal.
func (l *link) inject(m condition) {
	for _, x := range l.toxics {
		x.set(m)
	}
}

func (l *link) heal() { l.inject(condition{}) }

// A condition is the treatment of traffic on a link. The zero condition forwards everything
// at once.
type condition struct {
	delay time.Duration // varies by half of it
	rate  int           // bytes a second; 0 for no limit

	// hole drops everything. Connections that have lost bytes end when the condition
	// changes.
	hole bool

	over chan struct{} // closed when the condition changes
}

func slow(ms int) condition      { return condition{delay: time.Duration(ms) * time.Millisecond} }
func throttled(kb int) condition { return condition{rate: kb << 10} }
func blackHole() condition       { return condition{hole: true} }

// switchToxicName is the name by which toxiproxy knows switchToxic.
const switchToxicName = "switch"

// switchToxic is a toxic that stays on its link and changes its condition. toxiproxy's own
// toxics must be added and removed; if a connection breaks meanwhile, it and the whole link
// hang for ever.
type switchToxic struct{ condition atomic.Pointer[condition] }

// GetBufferSize implements toxics.BufferedToxic: delayed chunks must not hold up later ones.
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
	for range stub.Input { // drains the writer, which would hang otherwise
	}
}

// hold waits for the delay of c, or until the condition changes.
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
