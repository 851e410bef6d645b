package embedded

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
)

// fastSweep makes the sweep run often during a test.
const fastSweep = 5 * time.Millisecond

func mustOpen(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestPromises(t *testing.T) {
	logtest.Run(t, func(t *testing.T) *logtest.Harness {
		leaks := goleak.IgnoreCurrent()
		t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
		dir := t.TempDir()
		h := &logtest.Harness{Log: mustOpen(t, dir, Options{SweepEvery: fastSweep})}
		h.Reopen = func() streams.Log {
			if err := h.Log.Close(); err != nil {
				t.Fatal(err)
			}
			return mustOpen(t, dir, Options{SweepEvery: fastSweep})
		}
		return h
	})
}

func BenchmarkLog(b *testing.B) {
	logtest.Bench(b, func(b *testing.B) streams.Log { return mustOpen(b, b.TempDir(), Options{}) })
}
