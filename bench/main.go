// Command bench measures Tidemark beside its peers, on one machine, in one run.
package main

func main() {}
