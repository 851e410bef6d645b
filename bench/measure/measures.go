package measure

import "context"

// A Measure runs one repetition of a measure.
type Measure func(b *Bench, ctx context.Context) error

// Measures lists all measures in the order in which they run. One marked Once compares
// Tidemark with itself and is not repeated.
var Measures = []struct {
	Number int
	Do     Measure
	Once   bool
}{
	{Number: 1, Do: (*Bench).Broadcast},
	{Number: 2, Do: (*Bench).Memory},
	{Number: 3, Do: (*Bench).Throughput},
	{Number: 4, Do: (*Bench).Publishing},
	{Number: 5, Do: (*Bench).Latency},
	{Number: 6, Do: (*Bench).MassReconnect},
	{Number: 7, Do: (*Bench).Registry},
	{Number: 8, Do: (*Bench).UnstableConnections},
	{Number: 9, Do: (*Bench).Growth, Once: true},
}
