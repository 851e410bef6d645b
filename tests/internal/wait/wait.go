// Package wait polls for conditions that tests cannot be notified of.
package wait

import (
	"testing"
	"time"
)

const (
	// Limit bounds every wait. It measures nothing: a test reaches it only if the
	// condition never comes.
	Limit = time.Minute

	// every is the time between two looks. A look may be a request to a node.
	every = 10 * time.Millisecond
)

// For polls until ok returns true, and returns false if it does not within Limit.
func For(ok func() bool) bool {
	deadline := time.Now().Add(Limit)
	for !ok() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(every)
	}
	return true
}

// Until is For for conditions without which the test cannot go on. what names the
// condition in the failure.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !For(ok) {
		t.Fatalf("not within %v: %s", Limit, what)
	}
}
