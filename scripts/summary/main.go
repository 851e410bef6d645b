// Summary reads the output of go test -json from standard input and shows it to people.
//
// While the tests run it prints what go test prints without -json: a line for each
// package, and the output of tests that fail. At the end it prints how many tests ran,
// and a table of those that were skipped: their names, the reason, and how to run them.
//
// It exits with 1 if a package failed. With CI=true or REQUIRE=all, tests/require makes a
// test fail instead of skipping it, so that the table has only tests that do not apply.
//
// With -brief it counts the skipped tests of each reason instead of naming them.
//
//	go test -json ./... | go run ./scripts/summary
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	brief := flag.Bool("brief", false, "count skipped tests instead of naming them")
	flag.Parse()
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	s.printCounts()
	if *brief {
		s.printReasons()
	} else {
		s.printSkipped(howToGet)
	}
	if s.broken {
		os.Exit(1)
	}
}
