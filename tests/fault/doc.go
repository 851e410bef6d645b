// Package fault holds Tidemark to docs/delivery.md while everything around it
// breaks: several nodes of the real program behind nginx, real Redis servers in
// the shapes that people run, and a proxy on each line between them. Lines are
// slowed, cut and black-holed, processes are stopped and killed, Redis is filled,
// failed over and emptied, while publishers publish and clients follow.
//
// A run is made of rounds. In a round faults are injected, some at a time; then
// all is mended, and when every client has come to the end of its rooms, what each
// was told is compared with what Redis holds and with what publishers were told:
// missing, repeated and out of order are counted apart, and each gap notice is
// either owed or not. A run ends with one table.
//
//	go test ./tests/fault                      a cut of it, with race-built nodes
//	make fault                                 all of it, up to 25 minutes
//	make soak TIME=1h                          mixed faults for a given time
//
// Each prints the seed that chose its faults; SEED=… with make, or -fault.seed,
// chooses them again. What the scheduler of the machine does with them differs.
package fault
