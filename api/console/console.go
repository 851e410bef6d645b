// Package console is one page to try Tidemark with: it publishes, follows a room
// over the browser's own EventSource, cuts its connection, comes back, and shows
// what was replayed.
//
// The page needs nothing but the public surface: whatever it does, an
// application can do. It loads nothing from elsewhere, and whatever comes over
// the wire reaches the document as text, never as markup; the content security
// policy holds even where a mistake is made.
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

// policy lets the page use its own script, its own style and its own server, and
// nothing else. img-src is for the icon, which is part of the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at / and its parts below /console/. All addresses in
// the page are relative, so that it works below any prefix that a proxy strips.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", file("index.html", "text/html; charset=utf-8"))
	mux.Handle("GET /console/app.js", file("app.js", "text/javascript; charset=utf-8"))
	mux.Handle("GET /console/style.css", file("style.css", "text/css; charset=utf-8"))
	return mux
}

// file serves one embedded file. A browser asks each time whether it changed,
// since the page and its script must be of the same version.
func file(name, contentType string) http.Handler {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it was embedded when this was built
	}
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY") // for browsers that don't know frame-ancestors
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}
