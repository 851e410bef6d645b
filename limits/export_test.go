package limits

const (
	MaxCallers = maxCallers
	FewCallers = fewCallers
)

// Kept returns how many buckets there are.
func Kept(l *LocalLimiter) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buckets)
}
