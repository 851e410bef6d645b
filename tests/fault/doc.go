// Package fault checks the promises of docs/delivery.md while everything around Tidemark
// fails: several nodes of the real program behind nginx, real Redis servers in common
// topologies, and a proxy on each link between them. Tests slow, cut and black-hole
// links, stop and kill processes, fill, fail over and empty Redis, while publishers
// publish and clients follow.
//
// A run consists of rounds. In a round faults are injected, several at a time. Then all
// faults end, and when every client has reached the end of its rooms, the checker
// compares the messages of each client with the content of Redis and with the answers to
// publishers. It counts missing, repeated and out-of-order events separately, and decides
// for each gap notice whether it was owed. A run ends with one table.
//
// Attacks (Linux only) are clients that make a node pay as much as they can: its memory, its
// processors, its log. TestAttacks measures, during each, the memory of the node and the
// waits of strangers, harmless clients with other addresses. The attackers run in a process
// of their own with the lowest priority, so that the work of sending an attack takes no
// processor time from the node and from strangers. Real attackers have their own processors.
// Attacks end with a second table.
//
//	go test ./tests/fault                      a cut of it, with race-built nodes
//	make fault                                 all of it, about 40 minutes
//	make soak TIME=1h                          mixed faults for a given time
//
// Each prints the seed that chose its faults. SEED=… with make, or -fault.seed, chooses
// the same faults again. The machine's scheduler still makes every run different.
package fault
