package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/replay"
)

// startOf returns where a request asks to follow from. The header wins over the
// query, because a browser keeps it newer than the URL that the page was written
// with. What is empty counts as absent.
func startOf(r *http.Request, now time.Time) (replay.Start, error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return replay.ParseLastEventID(id), nil
	}
	query := r.URL.Query()
	if id := query.Get("last_event_id"); id != "" {
		return replay.ParseLastEventID(id), nil
	}
	return parseStart(query.Get("since"), query.Get("last"), now)
}

// parseStart reads the two ways to name a start that is not a client's own cursor.
func parseStart(since, last string, now time.Time) (replay.Start, error) {
	if since != "" {
		// A "+02:00" that was not escaped arrives as a space, and no form of since has one.
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
