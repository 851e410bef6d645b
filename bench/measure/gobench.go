package measure

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/bench/result"
)

// benchmarkTimeout limits one run of a Go benchmark, including the build.
const benchmarkTimeout = 5 * time.Minute

// goBenchmark runs a Go benchmark of Tidemark's module and returns its results by unit:
// "ns/op" and its own units. Of several sub-benchmarks the last one counts.
func (b *Bench) goBenchmark(ctx context.Context, pkg, pattern string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, benchmarkTimeout)
	defer cancel()
	benchtime := "3s"
	if b.Small {
		benchtime = "1x"
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench="+pattern, "-benchtime="+benchtime, pkg)
	cmd.Dir = b.Module
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	values := parseBenchmark(string(out))
	if len(values) == 0 {
		return nil, fmt.Errorf("%s: no benchmark matches %s", cmd, pattern)
	}
	return values, nil
}

// parseBenchmark parses the output of a Go benchmark.
func parseBenchmark(text string) map[string]float64 {
	values := make(map[string]float64)
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				values[fields[i+1]] = v
			}
		}
	}
	return values
}

// observeBenchmark records the benchmark result with the given unit.
func (b *Bench) observeBenchmark(f result.Figure, values map[string]float64, unit string) error {
	v, ok := values[unit]
	if !ok {
		return fmt.Errorf("measure %d: the benchmark reports no %s", f.Measure, unit)
	}
	b.record(f, v, result.Counts{})
	return nil
}
