package fault_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/tests/internal/testmain"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/require"
)

var (
	full     = flag.Bool("fault.full", false, "run all of it, for about 40 minutes, instead of a cut")
	soak     = flag.Duration("fault.soak", 0, "how long mixed faults last, instead of what is usual")
	seed     = flag.Uint64("fault.seed", 0, "what chooses faults and their order (0: a new one)")
	least    = flag.Int64("fault.least", 0, "fail with fewer deliveries, over all runs")
	reportTo = flag.String("fault.report", "", "write the table to FILE.md and FILE.json")
	keepIn   = flag.String("fault.dir", "", "where to leave what tells why a run failed (default: a new directory)")
)

// tidemark is the real program. It is race-built in the cut only: in the full run that would
// be ten times slower and so deliver a tenth.
var tidemark program.Program

// TestMain fails if a goroutine is left when all tests have ended, except for toxiproxy's:
// when one side of a connection breaks, its goroutines for the other side may stay blocked
// on a channel without a reader.
func TestMain(m *testing.M) {
	attackProcess()
	const toxiproxy = "github.com/Shopify/toxiproxy/v2"
	goleak.VerifyTestMain(testmain.Func(func() int { return run(m) }),
		goleak.IgnoreAnyFunction(toxiproxy+"/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction(toxiproxy+".(*ToxicLink).read"),
		goleak.IgnoreAnyFunction(toxiproxy+".(*ToxicLink).write"))
}

func run(m *testing.M) int {
	flag.Parse()
	toxics.Register(switchToxicName, new(switchToxic))
	_ = flag.Set("test.parallel", "4") // parallel tests mostly wait
	if *seed == 0 {
		*seed = rand.Uint64N(1 << 32)
	}
	fmt.Printf("fault: seed %d\n", *seed)
	var flags []string
	if !thorough() {
		flags = require.RaceFlags()
	}
	code := testmain.WithProgram(m, &tidemark, flags...)
	if err := results.publish(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// thorough reports whether this is a full run or a soak.
func thorough() bool { return *full || *soak > 0 }

// inCut returns the first duration in a cut and the second in a full run.
func inCut(cut, full time.Duration) time.Duration {
	if thorough() {
		return full
	}
	return cut
}
