// Package edge holds the whole program to what it owes at its edge, scenarios 34
// to 39: connections that are given up, that fall silent, that come and go by
// the ten thousand, that say what can't be understood; and a node that goes away
// while all of that is happening.
//
// The servers are processes, built without the race detector: it allows 8,128
// goroutines, and a server with ten thousand clients has more. It watches the
// clients, which are the tests themselves, and the same handlers in the tests of
// package api.
package edge
