package embedded_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
)

// Open a log in a directory, append two events, and read the room back.
func Example() {
	dir, err := os.MkdirTemp("", "tidemark-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	log, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer log.Close()

	ctx := context.Background()
	keep := streams.Retention{Events: 1000, Age: time.Hour}
	receipts := log.Append(ctx, []streams.Draft{
		{Room: "chat:1", Type: streams.DefaultType, Data: []byte(`"hello"`), Retention: keep},
		{Room: "chat:1", Type: streams.DefaultType, Data: []byte(`"world"`), Retention: keep},
	})
	for _, r := range receipts {
		if r.Err != nil {
			fmt.Println(r.Err)
			return
		}
	}

	// Read everything after the first event, up to the newest.
	limit := streams.ReadLimit{Events: 100, Bytes: 1 << 20}
	page, err := log.After(ctx, "chat:1", receipts[0].ID, receipts[1].ID, limit)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range page.Events {
		fmt.Printf("%s %s follows the first event: %t\n", e.Type, e.Data, e.Prev == receipts[0].ID)
	}
	// Output:
	// message "world" follows the first event: true
}

// Append an event with an idempotency key. Repeating it returns the first receipt's id.
func ExampleLog_Append() {
	dir, err := os.MkdirTemp("", "tidemark-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	log, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer log.Close()

	order := streams.Draft{
		Room: "orders", Type: "order.created", Data: []byte(`{"id":17}`), Key: "order-17",
		Retention: streams.Retention{Events: 1000, Age: time.Hour},
	}
	first := log.Append(context.Background(), []streams.Draft{order})[0]
	again := log.Append(context.Background(), []streams.Draft{order})[0]
	fmt.Println(first.Durability, first.Replayed)
	fmt.Println(again.ID == first.ID, again.Replayed)
	// Output:
	// fsynced false
	// true true
}
