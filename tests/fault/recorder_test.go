package fault_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A recorder records what each of several Redis servers stores, with MONITOR. It knows
// events that a server had and no server has any more, even if no publisher was answered and
// no client received them. Nodes may have known them.
type recorder struct {
	mu   sync.Mutex                     // guards the field below
	seen map[string]map[streams.ID]bool // of this round, by stream
}

// newRecorder watches servers until the test ends.
func newRecorder(t *testing.T, servers []*redistest.Server) *recorder {
	w := &recorder{seen: make(map[string]map[streams.ID]bool)}
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	for _, s := range servers {
		watching.Go(func() { w.watch(ctx, s.Addr()) })
	}
	t.Cleanup(func() {
		stop()
		watching.Wait()
	})
	return w
}

// watch records one server whenever it runs.
func (w *recorder) watch(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		if conn, err := net.Dial("tcp", addr); err == nil {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			w.listen(conn)
			stop()
			conn.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (w *recorder) listen(conn net.Conn) {
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		return
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if stream, id, ok := stored(line); ok {
			w.note(stream, id)
		}
	}
}

func (w *recorder) note(stream, position string) {
	p, _, _ := strings.Cut(strings.TrimPrefix(stream, "{"+prefix+":"), "}")
	id := parsePosition(position, streams.Partition(atou(p)))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[stream] == nil {
		w.seen[stream] = make(map[streams.ID]bool)
	}
	w.seen[stream][id] = true
}

// stored reads a line of MONITOR:
//
//	+1795340000.000000 [0 lua] "XADD" "{tidemark:5}:s:room-2" "MAXLEN" "=" "1000" "1795340000000-1" …
func stored(line string) (stream, position string, ok bool) {
	_, words, ok := strings.Cut(line, `] "XADD" "`)
	if !ok {
		return "", "", false
	}
	parts := strings.SplitN(words, `" "`, 6)
	if len(parts) < 6 {
		return "", "", false
	}
	return parts[0], parts[4], strings.HasPrefix(parts[0], "{"+prefix+":")
}

// takeSeen returns the events stored in a room since the last call, even if they are gone.
func (w *recorder) takeSeen(r *room) map[streams.ID]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen[streamOf(r)]
	delete(w.seen, streamOf(r))
	return seen
}
