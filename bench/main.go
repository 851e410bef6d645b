// Command bench measures Tidemark and its peers on one machine in one run.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/tidemark/tidemark/bench/barewrites"
	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/recovery"
)

const usage = `usage: bench run [flags]         measure Tidemark and its peers; "bench run -h" lists the flags
       bench recovery [flags]    count what clients miss when something fails; -h lists the flags

"bench run" starts these commands itself:
       bench load           generate load as commands on standard input direct
       bench bare-writes    write each event to many sockets and do nothing else
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
		return runMeasures(args[1:])
	case "recovery":
		return recovery.Run(args[1:])
	case "load":
		debug.SetGCPercent(400) // the generator allocates little, and memory is not scarce
		return load.Serve(os.Stdin, os.Stdout)
	case "bare-writes":
		return barewrites.Run(os.Stdout)
	}
	fmt.Fprint(os.Stderr, usage)
	os.Exit(2)
	return nil
}
