package api

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

const (
	mediaSSE  = "text/event-stream"
	mediaJSON = "application/json"
)

// accepts reports whether the Accept header lists one of the media ranges literally. A
// request without the header accepts "*/*".
func accepts(r *http.Request, ranges ...string) bool {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		header = "*/*"
	}
	for part := range strings.SplitSeq(header, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil || isZero(params["q"]) {
			continue
		}
		for _, want := range ranges {
			if media == want {
				return true
			}
		}
	}
	return false
}

// isZero reports whether a quality is zero, which excludes the media range.
func isZero(q string) bool {
	v, err := strconv.ParseFloat(q, 64)
	return err == nil && v == 0
}
