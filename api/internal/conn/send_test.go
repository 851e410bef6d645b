package conn

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// Items that do not fit into one write stay in the batch, which sets More. Once all are
// encoded, the batch holds no items.
func TestAppendItems(t *testing.T) {
	event := replay.Item{Event: &streams.Event{ID: streams.MakeID(1<<40, 1, 0), Room: "lobby"}}
	batch := service.Batch{Items: []replay.Item{event, {Gap: &replay.Gap{Room: "lobby"}}, event}}
	half := func(b []byte, _ replay.Item) []byte { return append(b, strings.Repeat("x", MaxWrite/2)...) }
	var first, then WriteStats
	b := AppendItems(nil, &batch, &first, half)
	if len(b) != MaxWrite || first.events != 1 || len(batch.Items) != 1 || !batch.More {
		t.Errorf("first: %d bytes, %d events, %d items left, more %v", len(b), first.events, len(batch.Items), batch.More)
	}
	if b = AppendItems(nil, &batch, &then, half); len(b) != MaxWrite/2 || then.events != 1 || batch.Items != nil || !batch.More {
		t.Errorf("then: %d bytes, %d events, items %v, more %v", len(b), then.events, batch.Items, batch.More)
	}
}
