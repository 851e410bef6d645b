// Package load is the load generator. It runs many clients that follow rooms, and
// publishers, on one thread over raw epoll sockets. It shares the machine with the
// system it measures, so it uses as little processor time as possible.
//
// Every event that a client receives is checked. Missing, repeated and out-of-order
// events are counted separately, by numbers that the publishers put into the events.
// Where the system has event ids, they must rise.
//
// A Generator executes one Command at a time and reads its sockets only during a
// command. To let a system idle while events are read, send the command Pause. Linux
// only.
package load
