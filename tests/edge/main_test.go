//go:build linux

package edge

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// tidemark is the real program.
var tidemark program.Program

// Whatever a test starts must have ended when the last one is done.
func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

type tests struct{ *testing.M }

func (t tests) Run() int {
	if path := os.Getenv(insideVar); path != "" {
		tidemark = program.At(path)
		return t.M.Run()
	}
	p, remove, err := program.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	tidemark = p
	return redistest.Main(t.M)
}
