// Package scenarios holds Tidemark to docs/delivery.md: each test is one way in
// which systems of this kind are known to lose events, run on whole nodes (log,
// service, edge, real sockets, real Redis) over every log and both transports.
//
// What is received is compared with what was published as sequences. Missing,
// repeated and out of order are counted apart, for a set of received numbers is
// blind to two of the three.
package scenarios
