package scenarios_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/tests/internal/testmain"
	"github.com/tidemark/tidemark/tests/program"
)

// tidemark is the real program. Most of these tests run nodes in their own process.
var tidemark program.Program

// TestMain fails if a goroutine is left when all tests have ended.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(testmain.Func(func() int {
		code := testmain.WithProgram(m, &tidemark)
		fmt.Printf("scenarios: %d deliveries compared with what was published\n", compared.Load())
		return code
	}))
}
