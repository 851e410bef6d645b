package api

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
)

// What does not go into one write stays, and has its owner ask again afterwards; of
// what went nothing is held.
func TestAppendItems(t *testing.T) {
	batch := service.Batch{Items: []replay.Item{eventItem(1, 0, "message", "1"), gapItem(), eventItem(3, 0, "message", "3")}}
	half := func(b []byte, _ replay.Item) []byte { return append(b, strings.Repeat("x", maxWrite/2)...) }
	var first, then load
	b := appendItems(nil, &batch, &first, half)
	if len(b) != maxWrite || first.events != 1 || len(batch.Items) != 1 || !batch.More {
		t.Errorf("first: %d bytes, %d events, %d items left, more %v", len(b), first.events, len(batch.Items), batch.More)
	}
	if b = appendItems(nil, &batch, &then, half); len(b) != maxWrite/2 || then.events != 1 || batch.Items != nil || !batch.More {
		t.Errorf("then: %d bytes, %d events, items %v, more %v", len(b), then.events, batch.Items, batch.More)
	}
}
