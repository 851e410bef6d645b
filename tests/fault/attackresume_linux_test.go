package fault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// resumesAfterStart lets one client per filled room miss the room's last event, all at the
// same time on a node that has just started, and then again and again. It checks how much
// the node reads for the first ones.
func resumesAfterStart(ctx context.Context, a *attackers) {
	const most = 4 // times the size of the missed events
	info := a.redis()
	if info == nil {
		return
	}
	defer info.Close()
	cursors := make([]string, filledRooms)
	for i := range cursors {
		cursors[i] = a.lastBut(filledRoom(i), 1)
	}
	resume := func() {
		var all sync.WaitGroup
		for i, cursor := range cursors {
			all.Go(func() {
				c := a.dial(ctx, 1+i%4, 0)
				if c == nil {
					return
				}
				defer c.Close()
				if c.send(a.get("/v1/rooms/"+filledRoom(i)+"/events", acceptStream, "Last-Event-ID: "+cursor)) &&
					c.drain("tidemark.live", make([]byte, 256<<10)) {
					a.answered("complete replay")
				}
			})
		}
		all.Wait()
	}
	before, read := a.redisOutput(info), a.bytes.Load()
	resume()
	sent, got := a.redisOutput(info)-before, int(a.bytes.Load()-read)
	a.note("%d resumes received %s, and Redis sent %s", filledRooms, megabytes(float64(got)), megabytes(float64(sent)))
	if got < filledRooms*filledSize {
		a.fault("the resumes received %d bytes, want %d at least", got, filledRooms*filledSize)
	}
	if sent > most*got {
		a.fault("Redis sent %d bytes for %d", sent, got)
	}
	a.repeat(ctx, 1, time.Second, func(context.Context, int) { resume() })
}

// redis returns a client of the node's Redis, or nil after a fault.
func (a *attackers) redis() *redis.Client {
	o, err := redis.ParseURL(a.plan.Redis)
	if err != nil {
		a.fault("Redis: %v", err)
		return nil
	}
	return redis.NewClient(o)
}

// redisOutput returns the number of bytes that Redis has sent to all its clients.
func (a *attackers) redisOutput(c *redis.Client) int {
	text, err := c.Info(context.Background(), "stats").Result()
	if err != nil {
		a.fault("%v", err)
		return 0
	}
	_, rest, _ := strings.Cut(text, "total_net_output_bytes:")
	value, _, _ := strings.Cut(rest, "\r\n")
	return int(atou(value))
}

// lastBut returns the id of the event before the last n events of a room.
func (a *attackers) lastBut(room string, n int) string {
	resp, err := http.Get(fmt.Sprintf("http://%s/v1/rooms/%s/events?order=desc&limit=%d", a.plan.Addr, room, n+1))
	if err != nil {
		a.fault("%v", err)
		return ""
	}
	defer resp.Body.Close()
	var page struct{ Events []struct{ ID string } }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || len(page.Events) != n+1 {
		a.fault("the newest events of %s: %s, %v, %d events", room, resp.Status, err, len(page.Events))
		return ""
	}
	return page.Events[n].ID
}
