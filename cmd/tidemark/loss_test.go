package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A node reports events that Redis has lost, in its log and in a metric.
func TestLossIsReported(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	node := tidemark.Serve(t, program.Options{}, "--redis", server.URL())
	tidemark.Must(t, at(node), "publish", "lobby", "1")
	server.Flush()
	tidemark.Must(t, at(node), "history", "lobby")

	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(scrape(t, node), "tidemark_log_losses_total 1\n") {
		if time.Now().After(deadline) {
			t.Fatalf("the metric counts no loss\n%s", node.Stderr)
		}
	}
	if !strings.Contains(node.Stderr.String(), "redis lost events") {
		t.Errorf("the log does not report the loss:\n%s", node.Stderr)
	}
}

func scrape(t *testing.T, node *program.Server) string {
	t.Helper()
	resp, err := http.Get(node.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
