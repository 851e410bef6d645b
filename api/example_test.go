package api_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams/embedded"
)

// A program can contain a node: a log, a node that uses it, and a handler. They are closed in
// the reverse order.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "tidemark")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	events, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer events.Close()
	node := service.New(events, &service.Options{Name: "n1"})
	defer node.Close()
	handler := api.New(node, nil)
	defer handler.Shutdown(context.Background())

	server := httptest.NewServer(handler) // or http.ListenAndServe
	defer server.Close()

	answer, err := http.Post(server.URL+"/v1/rooms/lobby/events", "application/json",
		strings.NewReader(`{"type":"greeting","data":{"text":"hi"}}`))
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)

	history, err := http.Get(server.URL + "/v1/rooms/lobby/events")
	if err != nil {
		log.Fatal(err)
	}
	defer history.Body.Close()
	page, err := io.ReadAll(history.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Contains(string(page), `"type":"greeting","data":{"text":"hi"}`))

	// Output:
	// 201 Created
	// true
}
