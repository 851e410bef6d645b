package api

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// takeToken removes the credential from the URL and nothing else.
func FuzzTakeToken(f *testing.F) {
	for _, q := range []string{"", "access_token=x", "a=1&access_token=x&b=2", "access%5ftoken=x", "%61ccess_token=x&access_token=y", "access_token", "&&", "a=%zz&access_token=%zz"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/v1/events", nil)
		r.URL.RawQuery = query
		before, _ := url.ParseQuery(query)
		token := takeToken(r)
		after, _ := url.ParseQuery(r.URL.RawQuery)
		if after.Has(tokenQuery) {
			t.Fatalf("%q leaves %q", query, r.URL.RawQuery)
		}
		if token != "" && before.Get(tokenQuery) == "" && !strings.Contains(query, ";") {
			t.Fatalf("%q gives %q", query, token)
		}
		before.Del(tokenQuery)
		if before.Encode() != after.Encode() {
			t.Fatalf("%q becomes %q", query, r.URL.RawQuery)
		}
	})
}
