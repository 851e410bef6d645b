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

// accepts reports whether the request accepts one of the media ranges, said in
// so many words. No Accept header at all is "*/*".
func accepts(r *http.Request, ranges ...string) bool {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		header = "*/*"
	}
	for part := range strings.SplitSeq(header, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil || refused(params["q"]) {
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

// refused reports whether a quality is zero: "anything but this".
func refused(q string) bool {
	v, err := strconv.ParseFloat(q, 64)
	return err == nil && v == 0
}
