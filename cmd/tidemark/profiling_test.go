package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
)

// Profiles are served at their own address only, and the profiler stops with the program.
func TestProfiles(t *testing.T) {
	s := tidemark.Serve(t, program.Options{Dir: t.TempDir()}, "--pprof-listen=127.0.0.1:0")
	at := regexp.MustCompile(`"profiles are served".*"address":"([^"]+)"`).FindStringSubmatch(s.Stderr.String())
	if at == nil {
		t.Fatalf("the log does not have the address: %s", s.Stderr)
	}
	for url, want := range map[string]int{
		"http://" + at[1] + "/debug/pprof/goroutine?debug=1": http.StatusOK,
		"http://" + at[1] + "/debug/pprof/":                  http.StatusOK,
		"http://" + at[1] + "/v1/events":                     http.StatusNotFound,
		s.URL() + "/debug/pprof/":                            http.StatusNotFound,
	} {
		if got, _ := fetch(t, url, ""); got != want {
			t.Errorf("%s: %d, want %d", url, got, want)
		}
	}
	for host, want := range map[string]int{"localhost:6060": 200, "[::1]": 200, "127.0.0.2": 200, "attacker.example": 403, "192.0.2.1:6060": 403, "localhost.attacker.example": 403} {
		if got, body := fetch(t, "http://"+at[1]+"/debug/pprof/cmdline", host); got != want {
			t.Errorf("host %s: %d %q, want %d", host, got, body, want)
		}
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// fetch requests a page. host, unless it is "", is the Host header.
func fetch(t *testing.T, url, host string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// Profiles are never served on an address other than loopback, even with --insecure.
func TestProfilesOnlyOnLoopback(t *testing.T) {
	for _, addr := range []string{":6060", "0.0.0.0:6060", "192.0.2.1:6060", "[::]:6060"} {
		_, stderr, code := tidemark.Run(t, program.Options{Dir: t.TempDir()}, "serve", "--listen=127.0.0.1:0", "--insecure", "--pprof-listen="+addr)
		if code != 2 || !strings.Contains(stderr, "is not a loopback address") {
			t.Errorf("%s: exit code %d, %q", addr, code, stderr)
		}
	}
}

// The access log is off by default.
func TestAccessLogFlag(t *testing.T) {
	for _, want := range []bool{true, false} {
		var args []string
		if want {
			args = append(args, "--access-log")
		}
		s := tidemark.Serve(t, program.Options{Dir: t.TempDir()}, args...)
		fetch(t, s.URL()+"/v1/rooms/lobby/events?access_token=secret", "")
		s.Signal(syscall.SIGTERM)
		s.Wait()
		if got := strings.Contains(s.Stderr.String(), `"route":"/v1/rooms/:room/events"`); got != want {
			t.Errorf("with %q: %s", args, s.Stderr)
		}
	}
}
