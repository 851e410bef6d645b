package limits

const (
	MaxCallers = maxCallers
	MinSweep   = minSweep
)

// Kept returns the number of buckets in memory.
func Kept(l *LocalLimiter) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buckets)
}
