// Package recovery counts what clients miss when a connection, a server or Redis fails.
//
// It starts Tidemark and three peers, one after the other, each as two nodes on one
// Redis. In every trial one publisher sends numbered events into one room, and clients
// follow the room with the client library that people use with that system. The clients
// connect through a TCP proxy, which cuts connections, stops reading, or leads to the
// other node. Afterwards the package compares what each client received with what the
// publisher sent.
//
// A trial counts events that are missing, repeated and out of order, and clients that
// were told that they may have missed events. Times are not results: the load of the
// machine changes them.
package recovery
