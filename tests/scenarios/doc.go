// Package scenarios checks the promises of docs/delivery.md. Each test is one known way for
// such systems to lose events. It runs on whole nodes (log, service, edge, real sockets,
// real Redis), on both logs and over every transport.
//
// Tests compare the received and the published events as sequences. They count missing,
// repeated and out-of-order events separately, because a set of received numbers shows only
// the first of the three.
package scenarios
