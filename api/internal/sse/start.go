package sse

import (
	"net/http"
	"time"

	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/replay"
)

// StartOf returns the position from which a request wants to follow. The header wins over
// the query: a browser updates the header, while the URL stays as the page wrote it. An
// empty value counts as absent.
func StartOf(r *http.Request, now time.Time) (replay.Start, error) {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return replay.ParseLastEventID(id), nil
	}
	query := r.URL.Query()
	if id := query.Get("last_event_id"); id != "" {
		return replay.ParseLastEventID(id), nil
	}
	return wire.ParseStart(query.Get("since"), query.Get("last"), now)
}
