package fault_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// historyUnread asks for pages of history and does not read them.
func historyUnread(clients int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			if c.send(a.get("/v1/rooms/"+filledRoom(0)+"/events?limit=1000", acceptJSON)) {
				c.hold(ctx)
			}
		})
	}
}

// streamUnread follows all filled rooms from their beginning and does not read.
func streamUnread(clients int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			if c.send(a.get("/v1/events?since=earliest&"+roomsQuery(filledRooms, filledRoom), acceptStream)) {
				c.hold(ctx)
			}
		})
	}
}

// streamTrickled follows one room from its beginning and reads a byte a second.
func streamTrickled(clients int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			if c.send(a.get("/v1/rooms/"+filledRoom(0)+"/events?since=earliest", acceptStream)) {
				c.trickle(ctx, 1)
			}
		})
	}
}

// fastReplays follows one room from its beginning, reads as fast as possible until the
// replay ends, and does it again.
func fastReplays(clients int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, 0, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, 0)
			if c == nil {
				pause(ctx, attackPause)
				return
			}
			defer c.Close()
			ok := c.send(a.get("/v1/rooms/"+filledRoom(0)+"/events?since=earliest", acceptStream)) &&
				c.drain("tidemark.live", make([]byte, 256<<10))
			if ok {
				a.answered("complete replay")
			} else if ctx.Err() == nil {
				a.answered("broken replay")
				pause(ctx, attackPause)
			}
		})
	}
}

// arraysOfNumbers publishes bodies of the maximum size that have a million elements.
func arraysOfNumbers(clients int) func(context.Context, *attackers) {
	const size = 8 << 20
	body := `{"events":[` + strings.Repeat("1,", size/2-10) + `1]}`
	return func(ctx context.Context, a *attackers) {
		request := a.request("POST", "/v1/events", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body)))
		a.repeat(ctx, clients, 0, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1, 0)
			if c == nil {
				pause(ctx, attackPause)
				return
			}
			defer c.Close()
			c.send(request)
			c.send(body) // the node may answer and close before
			if c.response(bufio.NewReader(c)) == nil {
				a.answered("no answer")
				pause(ctx, attackPause)
			}
		})
	}
}

// newRooms opens and closes streams of as many new rooms as a connection may follow.
func newRooms(clients int) func(context.Context, *attackers) {
	var opened atomic.Int64
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, 0, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i, 0)
			if c == nil {
				pause(ctx, attackPause)
				return
			}
			defer c.Close()
			n := opened.Add(1)
			c.send(a.get("/v1/events?"+roomsQuery(99, func(i int) string { return fmt.Sprintf("n%d-%d", n, i) }), acceptStream))
			if resp := c.response(bufio.NewReader(c)); resp != nil {
				first := make([]byte, 512)
				k, _ := resp.Body.Read(first)
				switch {
				case bytes.Contains(first[:k], []byte("tidemark.open")):
					a.answered("open stream")
				case bytes.Contains(first[:k], []byte("tidemark.error")):
					a.answered("refused stream")
				}
			}
		})
	}
}

// historyGivenUp asks for pages of history at a rate, and gives each up after a time.
func historyGivenUp(clients, rate int, after time.Duration) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		var all atomic.Int64
		each(ctx, time.Second/time.Duration(rate), func(time.Time) {
			n := int(all.Add(1))
			ctx, stop := context.WithTimeout(ctx, after)
			defer stop()
			c := a.dial(ctx, 1+n%clients, 0)
			if c == nil {
				return
			}
			defer c.Close()
			c.send(a.get("/v1/rooms/"+filledRoom(0)+"/events?limit=1000", acceptJSON))
			in := bufio.NewReader(c)
			if resp := c.response(in); resp != nil {
				n, _ := io.Copy(io.Discard, resp.Body)
				a.bytes.Add(n)
			}
		})
	}
}

// slowBodies sends bodies of the maximum size but for the end, which comes a byte a second.
func slowBodies(clients int) func(context.Context, *attackers) {
	const size = 8 << 20
	body := `{"events":[{"room":"slow","data":"` + strings.Repeat("x", size-1000)
	return func(ctx context.Context, a *attackers) {
		a.token = a.plan.Publish
		request := a.request("POST", "/v1/events", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", size))
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			for ok := c.send(request) && c.send(body); ok && ctx.Err() == nil; ok = c.send("x") {
				pause(ctx, time.Second)
			}
			c.response(bufio.NewReader(c))
		})
	}
}

// headersWithoutEnd sends headers up to their maximum size and never ends them.
func headersWithoutEnd(clients int) func(context.Context, *attackers) {
	text := "GET /v1/rooms/x/events HTTP/1.1\r\nHost: tidemark\r\nX-Long: " + strings.Repeat("x", 60<<10)
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%8, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			if c.send(text) {
				c.hold(ctx)
			}
		})
	}
}

// idle opens connections and sends nothing.
func idle(clients, addresses int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, time.Second, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%addresses, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			c.hold(ctx)
		})
	}
}

// streamsCutOff follows all filled rooms from their beginning, and resets the connection as
// soon as the replay has begun.
func streamsCutOff(clients int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, 0, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, smallBuffer)
			if c == nil {
				pause(ctx, attackPause)
				return
			}
			defer c.Close()
			c.send(a.get("/v1/events?since=earliest&"+roomsQuery(filledRooms, filledRoom), acceptStream))
			c.response(bufio.NewReaderSize(c, 16))
		})
	}
}

// newestOfRooms asks for the newest events of all filled rooms, and reads them.
func newestOfRooms(clients int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, 0, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, 0)
			if c == nil {
				pause(ctx, attackPause)
				return
			}
			defer c.Close()
			if c.send(a.get("/v1/events?last=1000&"+roomsQuery(filledRooms, filledRoom), acceptStream)) &&
				c.drain("tidemark.live", make([]byte, 256<<10)) {
				a.answered("complete replay")
			}
		})
	}
}

// hotTails follows very many rooms from their beginning and stays, so that the node fills the
// hot tails of all.
func hotTails(ctx context.Context, a *attackers) {
	const rooms = 99 // of a connection
	a.repeat(ctx, (tailRooms+rooms-1)/rooms, attackPause, func(ctx context.Context, i int) {
		c := a.dial(ctx, 1+i, 0)
		if c == nil {
			return
		}
		defer c.Close()
		query := roomsQuery(min(rooms, tailRooms-i*rooms), func(k int) string { return tailRoom(i*rooms + k) })
		if c.send(a.get("/v1/events?since=earliest&"+query, acceptStream)) {
			if c.drain("tidemark.live", make([]byte, 256<<10)) {
				a.answered("complete replay")
			}
			c.hold(ctx)
		}
	})
}

// liveUnread publishes the largest events into a room at the rate that the node allows. Many
// clients follow the room and do not read.
func liveUnread(clients int) func(context.Context, *attackers) {
	body := `{"data":"` + strings.Repeat("x", filledSize-2) + `"}`
	return func(ctx context.Context, a *attackers) {
		var all sync.WaitGroup
		defer all.Wait()
		all.Go(func() {
			a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
				c := a.dial(ctx, 1+i%8, smallBuffer)
				if c == nil {
					return
				}
				defer c.Close()
				if c.send(a.get("/v1/rooms/live/events", acceptStream)) {
					c.hold(ctx)
				}
			})
		})
		request := a.request("POST", "/v1/rooms/live/events", fmt.Sprintf("Content-Length: %d", len(body)))
		a.repeat(ctx, 4, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 9, 0)
			if c == nil {
				return
			}
			defer c.Close()
			for in := bufio.NewReader(c); c.send(request) && c.send(body); {
				resp := c.response(in)
				if resp == nil {
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				pause(ctx, time.Second/25) // 100 events a second by all
			}
		})
	}
}

// newRoomsStored publishes batches into new rooms, many at once, each event with a key. The
// node accepts as many as the rate of new rooms allows. Batches in progress at the same time
// may exceed it by another burst.
func newRoomsStored(ctx context.Context, a *attackers) {
	const clients, batch = 32, 30
	const rate, burst = 10, 100 // see exposed
	var opened, stored atomic.Int64
	began := time.Now()
	a.repeat(ctx, clients, attackPause, func(ctx context.Context, _ int) {
		c := a.dial(ctx, 1, 0)
		if c == nil {
			return
		}
		defer c.Close()
		var events []string
		for range batch {
			events = append(events, fmt.Sprintf(`{"room":"stored-%d","data":1,"key":"k"}`, opened.Add(1)))
		}
		body := `{"events":[` + strings.Join(events, ",") + `]}`
		c.send(a.request("POST", "/v1/events", fmt.Sprintf("Content-Length: %d", len(body))) + body)
		if resp := c.response(bufio.NewReader(c)); resp != nil {
			text, _ := io.ReadAll(resp.Body)
			stored.Add(int64(bytes.Count(text, []byte(`"id":`))))
		}
	})
	most := 2*burst + rate*int64(1+time.Since(began)/time.Second)
	if n := stored.Load(); n > most {
		a.fault("the attackers created %d rooms, want at most %d", n, most)
	}
}

// shortBodies sends the largest bodies of single publishes but for the end, on very many
// connections.
func shortBodies(clients int) func(context.Context, *attackers) {
	const size = 132 << 10
	body := `{"data":"` + strings.Repeat("x", size-1000)
	return func(ctx context.Context, a *attackers) {
		request := a.request("POST", "/v1/rooms/x/events", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", size))
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%16, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			if c.send(request) && c.send(body) {
				c.hold(ctx)
			}
		})
	}
}

// bodiesWithoutCredential sends large bodies to a node that asks for credentials.
func bodiesWithoutCredential(clients int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		a.token = ""
		arraysOfNumbers(clients)(ctx, a)
	}
}
