package redislog

import (
	"time"

	"github.com/tidemark/tidemark/streams"
)

func draft(room streams.Room, data string) streams.Draft {
	return streams.Draft{
		Room: room, Type: streams.DefaultType, Data: []byte(data),
		Keep: streams.Retention{Events: 1000, Age: time.Hour},
	}
}
