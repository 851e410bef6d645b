package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/replay"
)

// maxLast is the largest number of newest events that a client may start with.
const maxLast = 1000

// ParseStart reads the two ways to name a start other than a client's own cursor. since
// wins.
func ParseStart(since, last string, now time.Time) (replay.Start, error) {
	if since != "" {
		// The plus of an unescaped "+02:00" arrives as a space, which no form of since has.
		return replay.ParseSince(strings.ReplaceAll(since, " ", "+"), now), nil
	}
	if last == "" {
		return replay.Now(), nil
	}
	n, err := strconv.Atoi(last)
	if err != nil || n < 1 || n > maxLast {
		return replay.Start{}, fmt.Errorf("%w: %.40q, want 1 to %d", problem.ErrLast, last, maxLast)
	}
	return replay.Last(n), nil
}
