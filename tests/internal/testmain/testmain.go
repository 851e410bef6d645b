// Package testmain has the steps that the TestMain functions of several packages share.
package testmain

import (
	"fmt"
	"os"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// Func is the Run method of a testing.M with other steps around it. goleak takes it.
type Func func() int

// Run implements goleak.TestingM.
func (f Func) Run() int { return f() }

// WithProgram builds the program into p, with further flags of go build, and runs the
// tests. Afterwards it removes the program and ends the shared Redis. Exit with the code
// that it returns.
func WithProgram(m *testing.M, p *program.Program, flags ...string) int {
	built, remove, err := program.Build(flags...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	*p = built
	return redistest.Main(m)
}
