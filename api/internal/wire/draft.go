package wire

import (
	"fmt"

	"github.com/tidemark/tidemark/streams"
)

// ParseDraft returns the event for room that the members type, data, key and durability of
// o describe. Its data may have at most maxData bytes.
func ParseDraft(room streams.Room, o Object, maxData int) (d streams.Draft, err error) {
	d.Room = room
	name, _, err := o.Text("type")
	if err != nil {
		return d, err
	}
	if d.Type, err = streams.ParseType(name); err != nil {
		return d, err
	}
	data, given := o.Members["data"]
	if !given {
		return d, fmt.Errorf("%w: field \"data\" is missing", o.Fault)
	}
	if d.Data, err = streams.ParseData(data, maxData); err != nil {
		return d, err
	}
	level, given, err := o.Text("durability")
	if err != nil {
		return d, err
	}
	if given {
		if d.Durability, err = streams.ParseDurability(level); err != nil {
			return d, err
		}
	}
	key, given, err := o.Text("key")
	if err != nil || !given {
		return d, err
	}
	d.Key, err = streams.ParseKey(key)
	return d, err
}
