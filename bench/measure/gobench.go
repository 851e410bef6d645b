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

// benchmarkWait bounds one run of a Go benchmark, the build of its test included.
const benchmarkWait = 5 * time.Minute

// goBenchmark runs a Go benchmark of Tidemark's module and returns what it reports, by
// unit: "ns/op" and its own. Of several sub-benchmarks the last one counts.
func (b *Bench) goBenchmark(ctx context.Context, pkg, pattern string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, benchmarkWait)
	defer cancel()
	lasting := "3s"
	if b.Small {
		lasting = "1x"
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench="+pattern, "-benchtime="+lasting, pkg)
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

// parseBenchmark reads the lines of Go's benchmark format.
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

// observeBenchmark notes what a benchmark reports in that unit.
func (b *Bench) observeBenchmark(f result.Figure, values map[string]float64, unit string) error {
	v, ok := values[unit]
	if !ok {
		return fmt.Errorf("measure %d: the benchmark reports no %s", f.Measure, unit)
	}
	b.note(f, v, result.Counts{})
	return nil
}
