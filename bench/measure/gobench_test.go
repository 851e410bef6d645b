package measure

import (
	"maps"
	"testing"
)

func TestParseBenchmark(t *testing.T) {
	const text = `goos: linux
pkg: github.com/tidemark/tidemark/service
BenchmarkRegister-2   	   10000	      1234 ns/op	       900.5 p50-ns	     45678 p99.9-ns	      16 B/op
PASS
ok  	github.com/tidemark/tidemark/service	1.5s
`
	want := map[string]float64{"ns/op": 1234, "p50-ns": 900.5, "p99.9-ns": 45678, "B/op": 16}
	if got := parseBenchmark(text); !maps.Equal(got, want) {
		t.Errorf("parseBenchmark = %v, want %v", got, want)
	}
	if got := parseBenchmark("PASS\n"); len(got) != 0 {
		t.Errorf("parseBenchmark = %v for output without a benchmark, want nothing", got)
	}
}
