// Package edge tests the whole program at its network edge, scenarios 34 to 39: connections
// that are abandoned, fall silent, come and go by the ten thousand or send malformed input,
// and a node that shuts down meanwhile.
//
// The servers are processes, built without the race detector: it allows 8,128 goroutines,
// and a server with ten thousand clients has more. The race detector checks the clients,
// which are part of the tests, and the same handlers in the tests of package api.
package edge
