package limits_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/tests/redistest"
)

// Whatever a test starts must have ended when the last one is done.
func TestMain(m *testing.M) {
	if os.Getenv(childURL) != "" {
		if err := sitForEver(); err != nil {
			fmt.Println(err)
		}
		return
	}
	goleak.VerifyTestMain(tests{m})
}

type tests struct{ *testing.M }

func (t tests) Run() int { return redistest.Main(t.M) }
