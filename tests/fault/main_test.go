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
)

var (
	full     = flag.Bool("fault.full", false, "run all of it, for some 25 minutes, instead of a cut")
	soak     = flag.Duration("fault.soak", 0, "how long mixed faults last, instead of what is usual")
	seed     = flag.Uint64("fault.seed", 0, "what chooses faults and their order (0: a new one)")
	least    = flag.Int64("fault.least", 0, "fail with fewer deliveries, over all runs")
	reportTo = flag.String("fault.report", "", "write the table to FILE.md and FILE.json")
	keepIn   = flag.String("fault.dir", "", "where to leave what tells why a run failed (default: a new directory)")
)

// tidemark is the real program: race-built in the cut; without in the full run,
// where it would be ten times slower and so deliver a tenth.
var tidemark program.Program

// Whatever a test starts must have ended when the last one is done, but for what
// toxiproxy does not end itself: where one side of a connection breaks, goroutines for
// the other may stay behind, blocked on a channel that nobody reads.
func TestMain(m *testing.M) {
	const toxiproxy = "github.com/Shopify/toxiproxy/v2"
	goleak.VerifyTestMain(testmain.Func(func() int { return run(m) }),
		goleak.IgnoreAnyFunction(toxiproxy+"/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction(toxiproxy+".(*ToxicLink).read"),
		goleak.IgnoreAnyFunction(toxiproxy+".(*ToxicLink).write"))
}

func run(m *testing.M) int {
	flag.Parse()
	toxics.Register(switchToxicName, new(switchToxic))
	_ = flag.Set("test.parallel", "4") // those that run in parallel mostly wait
	if *seed == 0 {
		*seed = rand.Uint64N(1 << 32)
	}
	fmt.Printf("fault: seed %d\n", *seed)
	var flags []string
	if !thorough() {
		flags = append(flags, "-race")
	}
	code := testmain.WithProgram(m, &tidemark, flags...)
	if err := results.publish(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// thorough reports whether this is more than a cut.
func thorough() bool { return *full || *soak > 0 }

// inCut is a time of the cut, or the one of the full run.
func inCut(cut, full time.Duration) time.Duration {
	if thorough() {
		return full
	}
	return cut
}
