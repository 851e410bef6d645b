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
//	go test ./tests/fault                      a cut of it, with race-built nodes
//	make fault                                 all of it, up to 25 minutes
//	make soak TIME=1h                          mixed faults for a given time
//
// Each prints the seed that chose its faults. SEED=… with make, or -fault.seed, chooses
// the same faults again. The machine's scheduler still makes every run different.
package fault
