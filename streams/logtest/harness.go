package logtest

import "github.com/tidemark/tidemark/streams"

// A Harness provides the log under test. Its store must be empty, because all tests use
// the same room names.
type Harness struct {
	// Log is the log under test. A test may close it, so the harness's own cleanup must
	// accept a closed log.
	Log streams.Log

	// Second, if set, is the log of another node on the same store.
	Second streams.Log

	// Reopen, if set, closes Log and returns a new log on the same store, as a restart
	// of the node would do. The harness closes the new log too.
	Reopen func() streams.Log
}
