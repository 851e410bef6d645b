package console

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

// Every file of the page has its security headers, and revalidation answers 304.
func TestServesThePage(t *testing.T) {
	for path, contentType := range map[string]string{
		"/":                  "text/html; charset=utf-8",
		"/console/app.js":    "text/javascript; charset=utf-8",
		"/console/style.css": "text/css; charset=utf-8",
	} {
		r := get(t, "GET", path, http.Header{})
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != contentType {
			t.Errorf("GET %s: %s, %s", path, r.Status, r.Header.Get("Content-Type"))
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; ",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
			"X-Frame-Options":         "DENY",

			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy":           "camera=(), ",
		} {
			if got := r.Header.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("GET %s: %s: %q, want %q", path, name, got, want)
			}
		}
		again := get(t, "GET", path, http.Header{"If-None-Match": {r.Header.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("GET %s again: %s, want 304", path, again.Status)
		}
	}
	if r := get(t, "GET", "/console/other", http.Header{}); r.StatusCode != http.StatusNotFound {
		t.Errorf("GET /console/other: %s, want 404", r.Status)
	}
	if r := get(t, "POST", "/", http.Header{}); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %s, want 405", r.Status)
	}
}

// The page has no inline script or style, which the policy would block. It loads nothing from
// other servers, inserts data only as text, and stores no token.
func TestThePageKeepsItsPolicy(t *testing.T) {
	read := func(path string) string {
		b, err := io.ReadAll(get(t, "GET", path, http.Header{}).Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	html, script := read("/"), read("/console/app.js")
	if n := strings.Count(html, "<script"); n != strings.Count(html, `<script src="console/`) {
		t.Error("index.html has inline script")
	}
	for what, pattern := range map[string]string{
		"an inline handler": `\son[a-z]+="`,
		"inline style":      `<style|\sstyle="`,
		"an absolute URL":   `(src|href)="(/|https?:)`,
	} {
		if found := regexp.MustCompile(pattern).FindString(html); found != "" {
			t.Errorf("index.html has %s: %s", what, found)
		}
	}
	if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://|localStorage|sessionStorage|document\.cookie`).FindString(script); found != "" {
		t.Errorf("app.js has %s", found)
	}
}
