// Command bench measures Tidemark beside its peers, on one machine, in one run.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/tidemark/tidemark/bench/floor"
	"github.com/tidemark/tidemark/bench/load"
)

const usage = `usage: bench run [flags]    measure; bench run -h lists the flags

bench starts these itself:
       bench load           generate load, as commands on standard input say
       bench floor          write to many sockets, and do nothing else
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		args = []string{""}
	}
	switch args[0] {
	case "run":
		return measureAll(args[1:])
	case "load":
		debug.SetGCPercent(400) // little is allocated, and memory is not what is short
		return load.Serve(os.Stdin, os.Stdout)
	case "floor":
		return floor.Run(os.Stdout)
	}
	fmt.Fprint(os.Stderr, usage)
	os.Exit(2)
	return nil
}
