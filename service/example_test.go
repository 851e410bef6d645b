package service_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
)

// startNode returns a node on an embedded log in a temporary directory, and a function that
// stops both.
func startNode() (*service.Node, func()) {
	dir, err := os.MkdirTemp("", "tidemark")
	if err != nil {
		log.Fatal(err)
	}
	events, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	node := service.New(events, nil)
	return node, func() {
		node.Close() // before the log
		events.Close()
		os.RemoveAll(dir)
	}
}

func publish(node *service.Node, data ...string) {
	var drafts []streams.Draft
	for _, d := range data {
		drafts = append(drafts, streams.Draft{Room: "lobby", Type: streams.DefaultType, Data: []byte(d)})
	}
	for _, receipt := range node.Publish(context.Background(), drafts) {
		if receipt.Err != nil {
			log.Fatal(receipt.Err)
		}
	}
}

// Subscribe to a room from its oldest event. The subscription returns the events of the log
// first, and then the live ones.
func ExampleNode_Subscribe() {
	node, stop := startNode()
	defer stop()
	publish(node, `"one"`, `"two"`)

	wake := make(chan struct{}, 1)
	notify := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	ctx := context.Background()
	sub, err := node.Subscribe(ctx, []streams.Room{"lobby"}, replay.Earliest(), notify)
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	for received := 0; received < 3; {
		batch, err := sub.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for _, item := range batch.Items {
			if item.Gap != nil {
				fmt.Println("events may be missing:", item.Gap.Reason)
				continue
			}
			fmt.Printf("%s\n", item.Event.Data)
			received++
		}
		if batch.ReplayDone {
			publish(node, `"three"`)
		}
		if !batch.More && received < 3 {
			<-wake
		}
	}
	// Output:
	// "one"
	// "two"
	// "three"
}

// Read a room's history in pages.
func ExampleNode_History() {
	node, stop := startNode()
	defer stop()
	publish(node, `1`, `2`, `3`)

	query := service.HistoryQuery{Limit: 2}
	for {
		page, err := node.History(context.Background(), "lobby", query)
		if err != nil {
			log.Fatal(err)
		}
		for _, event := range page.Events {
			fmt.Printf("%s\n", event.Data)
		}
		fmt.Println("end of page, more:", !page.Next.IsZero())
		if page.Next.IsZero() {
			return
		}
		query.After = page.Next
	}
	// Output:
	// 1
	// 2
	// end of page, more: true
	// 3
	// end of page, more: false
}

// A draft with an idempotency key can be repeated: the log stores it once.
func ExampleNode_Publish() {
	node, stop := startNode()
	defer stop()

	draft := streams.Draft{Room: "lobby", Type: streams.DefaultType, Data: []byte(`"hello"`), Key: "order-17"}
	first := node.Publish(context.Background(), []streams.Draft{draft})[0]
	second := node.Publish(context.Background(), []streams.Draft{draft})[0]
	fmt.Println(first.Err, second.Err)
	fmt.Println(second.Replayed, first.ID == second.ID)
	// Output:
	// <nil> <nil>
	// true true
}
