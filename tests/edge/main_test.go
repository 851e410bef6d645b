//go:build linux

package edge

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/tests/internal/testmain"
	"github.com/tidemark/tidemark/tests/program"
)

// tidemark is the real program.
var tidemark program.Program

// TestMain fails if a goroutine is left when all tests have ended.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(testmain.Func(func() int {
		if path := os.Getenv(insideVar); path != "" {
			tidemark = program.At(path)
			return m.Run()
		}
		return testmain.WithProgram(m, &tidemark)
	}))
}
