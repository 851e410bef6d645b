package scenarios_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/tests/redistest"
)

// Whatever a test starts must have ended when the last one is done.
func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

type tests struct{ *testing.M }

func (t tests) Run() int {
	code := redistest.Main(t.M)
	fmt.Printf("scenarios: %d deliveries compared with what was published\n", compared.Load())
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	return code
}
