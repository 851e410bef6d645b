package api_test

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/tidemark/tidemark/api"
)

// document is openapi.yaml, read and validated once for all tests.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(loader.Context)
})

// openapi.yaml has the same routes as the router.
func TestDocumentHasEveryRoute(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	h := start(t)
	got := api.Routes(h.api)
	for i, route := range got {
		route = strings.Replace(route, "/*", "/{file}", 1)
		got[i] = regexp.MustCompile(`:(\w+)`).ReplaceAllString(route, "{$1}")
	}
	var want []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			want = append(want, method+" "+path)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("routes:\n%s\nopenapi.yaml:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// contract returns a transport that checks each answer against openapi.yaml, and each request
// that succeeded.
func contract(t *testing.T, next http.RoundTripper) http.RoundTripper {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &validator{t: t, next: next, router: router}
}

type validator struct {
	t      *testing.T
	next   http.RoundTripper
	router routers.Router
}

func (v *validator) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := body(r)
	if err != nil {
		return nil, err
	}
	resp, err := v.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	v.check(r, sent, resp)
	return resp, nil
}

// body returns the request's body and leaves it readable.
func body(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	b, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b, err
}

func (v *validator) check(r *http.Request, sent []byte, resp *http.Response) {
	route, params, err := v.router.FindRoute(r)
	if err != nil {
		if resp.StatusCode < http.StatusBadRequest && r.Method != http.MethodOptions {
			v.t.Errorf("%s %s: %d, but openapi.yaml does not have it: %v", r.Method, r.URL, resp.StatusCode, err)
		}
		return
	}
	request := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}, // TestEveryRouteChecksPermission checks it
	}
	if resp.StatusCode < http.StatusBadRequest {
		copied := r.Clone(r.Context())
		copied.Body = io.NopCloser(bytes.NewReader(sent))
		if copied.Header.Get("Content-Type") == "" {
			copied.Header.Set("Content-Type", "application/json") // absent means JSON
		}
		request.Request = copied
		if err := openapi3filter.ValidateRequest(r.Context(), request); err != nil {
			v.t.Errorf("%s %s was served, but does not match openapi.yaml: %v", r.Method, r.URL, err)
		}
	}
	v.checkAnswer(request, resp)
}

func (v *validator) checkAnswer(request *openapi3filter.RequestValidationInput, resp *http.Response) {
	r := request.Request
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request,
		Status:                 resp.StatusCode,
		Header:                 resp.Header,
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	}
	kind := resp.Header.Get("Content-Type")
	if kind == "application/json" || kind == "application/problem+json" {
		received, err := io.ReadAll(resp.Body)
		if err != nil {
			v.t.Error(err)
		}
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(received))
		answer.SetBodyBytes(received)
	} else {
		answer.Options.ExcludeResponseBody = true // a stream does not end
	}
	if err := openapi3filter.ValidateResponse(r.Context(), answer); err != nil {
		v.t.Errorf("the answer to %s %s does not match openapi.yaml: %v", r.Method, r.URL, err)
	}
}
