package limits_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/tests/redistest"
)

// Every goroutine that a test starts must have ended after the last test.
func TestMain(m *testing.M) {
	if os.Getenv(childAddr) != "" {
		if err := holdConnections(); err != nil {
			fmt.Println(err)
		}
		return
	}
	goleak.VerifyTestMain(tests{m})
}

type tests struct{ *testing.M }

func (t tests) Run() int { return redistest.Main(t.M) }
