package api_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Whatever a test starts must have ended when the last one is done.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
