// Package logtest is the test suite that every [streams.Log] must pass. The tests of each
// implementation run it:
//
//	func TestLog(t *testing.T) {
//		logtest.Run(t, func(t *testing.T) *logtest.Harness { … })
//	}
//
// Promised: a log that passes keeps the obligations in the comments of [streams.Log] and
// [streams.Feed] while its store works. [Bench] measures an implementation with the same
// calls.
//
// Not promised: behaviour when the store fails, loses data or is slow. Each implementation
// tests that itself.
//
// Tests of order count missing, repeated and misplaced events separately (see [Compare]),
// because a count of distinct ids misses two of the three.
package logtest
