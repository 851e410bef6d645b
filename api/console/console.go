// Package console serves one web page for trying out Tidemark. The page publishes, follows a
// room with the browser's EventSource, cuts its connection, reconnects, and shows the
// replayed events.
//
// The page uses only the public API, so an application can do the same. It loads nothing from
// other servers. It inserts data into the document as text, never as markup, and the content
// security policy blocks scripts even if the page makes a mistake.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"time"
)

//go:embed index.html app.js style.css
var files embed.FS

// policy allows the page its own script, its own style and its own server, and nothing else.
// img-src allows the icon, which is a data: URL in the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at / and its script and style below /console/. All URLs in the page
// are relative, so that it works below a path prefix that a proxy strips.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", file("index.html", "text/html; charset=utf-8"))
	mux.Handle("GET /console/app.js", file("app.js", "text/javascript; charset=utf-8"))
	mux.Handle("GET /console/style.css", file("style.css", "text/css; charset=utf-8"))
	return mux
}

// file serves one embedded file. Browsers must revalidate it each time, because the page and
// its script have to be of the same version.
func file(name, contentType string) http.Handler {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // can't happen: the build embeds the file
	}
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}
