// Package load is the load generator: many clients that follow rooms, and
// publishers, on one thread over raw epoll sockets, so that the measuring side
// takes as little as possible of the machine that it shares with what is measured.
//
// Promised: each event that a client receives is checked. Missing, repeated and out
// of order are counted apart, by numbers that the publishers put into the events, and
// ids have to rise where the system under test gives ids.
//
// A Generator does one Command after the other. What arrives between two commands
// waits in the sockets, so a pause is a command too. Linux only.
package load
