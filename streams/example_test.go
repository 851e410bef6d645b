package streams_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/streams"
)

func ExampleParseRoom() {
	room, err := streams.ParseRoom("chat:42")
	fmt.Println(room, err)

	_, err = streams.ParseRoom("chat/42")
	fmt.Println(errors.Is(err, streams.ErrRoom), err)
	// Output:
	// chat:42 <nil>
	// true not a room name: character '/', want letters, digits and _ . : = @ | , ~ + -
}

// The id of a log entry is its position: time, sequence and partition.
func ExampleMakeID() {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := streams.MakeID(uint64(at.UnixMilli()), 1, 0)
	second := streams.MakeID(uint64(at.UnixMilli()), 2, 0)
	fmt.Println(first)
	fmt.Println(second)
	fmt.Println(first.Before(second))
	// Output:
	// 01KDYAK3480000000000002000
	// 01KDYAK3480000000000004000
	// true
}

func ExampleParseID() {
	id, err := streams.ParseID("01KDYAK3480000000000004000")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(id.Time(), id.Seq(), id.Partition())
	// Output:
	// 2026-01-02 03:04:05 +0000 UTC 2 0
}

func ExampleParseData() {
	data, err := streams.ParseData([]byte(`{ "text": "hello" }`), streams.DefaultMaxData)
	fmt.Printf("%s %v\n", data, err)

	_, err = streams.ParseData([]byte(`{ "text": `), streams.DefaultMaxData)
	fmt.Println(errors.Is(err, streams.ErrData))
	// Output:
	// {"text":"hello"} <nil>
	// true
}

func ExampleRoom_Matches() {
	fmt.Println(streams.Room("chat:42:typing").Matches("chat:*:typing"))
	fmt.Println(streams.Room("lobby").Matches("chat:*"))
	// Output:
	// true
	// false
}
