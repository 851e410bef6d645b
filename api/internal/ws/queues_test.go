package ws

import (
	"slices"
	"testing"
	"testing/synctest"
)

// blocks reports whether f waits. It must end after release.
func blocks(f, release func()) bool {
	ended := make(chan struct{})
	go func() {
		f()
		close(ended)
	}()
	synctest.Wait()
	waits := true
	select {
	case <-ended:
		waits = false
	default:
	}
	release()
	<-ended
	return waits
}

// Messages wait up to a number and up to a size. A single one may be larger.
func TestMessageQueueBounds(t *testing.T) {
	for _, tt := range []struct {
		name     string
		fit, len int // messages that fit, and the size of each
	}{
		{"number", maxUnhandled, 10},
		{"bytes", 2, maxUnhandledBytes/2 - 1},
		{"one that is larger", 1, 2 * maxUnhandledBytes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q queues
				q.init()
				m := message{text: make([]byte, tt.len)}
				for i := range tt.fit {
					if blocks(func() { q.put(m) }, func() {}) {
						t.Fatalf("message %d waits", i)
					}
				}
				var taken []message
				if !blocks(func() { q.put(m) }, func() { taken, _ = q.takeMessages() }) || len(taken) != tt.fit {
					t.Errorf("%d messages wait, want %d", len(taken), tt.fit)
				}
			})
		})
	}
}

// Answers wait up to a number and up to a size. A single one may be larger.
func TestAnswerBounds(t *testing.T) {
	for _, tt := range []struct {
		name     string
		fit, len int // answers that fit, and the size of each
	}{
		{"number", maxAnswers, 10},
		{"bytes", 2, maxAnswerBytes/2 - 1},
		{"one that is larger", 1, 2 * maxAnswerBytes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q queues
				q.init()
				a := answer{frame: make([]byte, tt.len)}
				for i := range tt.fit {
					if blocks(func() { q.putAnswer(a) }, func() {}) {
						t.Fatalf("answer %d waits", i)
					}
				}
				if held := q.heldAnswers(); held != tt.fit*tt.len {
					t.Errorf("%d bytes are held, want %d", held, tt.fit*tt.len)
				}
				var taken []answer
				if !blocks(func() { q.putAnswer(a) }, func() { taken = q.takeAnswers() }) || len(taken) != tt.fit {
					t.Errorf("%d answers wait, want %d", len(taken), tt.fit)
				}
			})
		})
	}
}

// A session without memory keeps no message and no answer.
func TestOverloadedQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queues
		q.init()
		q.put(message{text: make([]byte, 10)})
		for range maxAnswers {
			q.putAnswer(answer{frame: make([]byte, 10)})
		}
		if !blocks(func() { q.putAnswer(answer{frame: make([]byte, 10)}) }, q.overload) {
			t.Error("the answer before does not wait")
		}
		if accepted, _ := q.put(message{}); accepted {
			t.Error("a message is accepted")
		}
		messages, dropped := q.takeMessages()
		if messages != nil || len(dropped) != 1 || dropped[0].text != nil {
			t.Errorf("%d messages to handle, dropped %v", len(messages), dropped)
		}
		for i, a := range q.takeAnswers() {
			if (a.frame == nil) != (i >= maxAnswers) {
				t.Errorf("answer %d is %v", i, a.frame)
			}
		}
	})
}

// A subscription with an unfinished batch comes before all others, once.
func TestUnfinishedFirst(t *testing.T) {
	var q queues
	q.init()
	a, b, c := &roomSub{room: "a"}, &roomSub{room: "b"}, &roomSub{room: "c"}
	for _, s := range []*roomSub{a, b, c} {
		q.putReady(s)
	}
	q.putUnfinished(b)
	q.putReady(b)
	var order []string
	for s := q.takeReady(); s != nil; s = q.takeReady() {
		order = append(order, string(s.room))
	}
	if !slices.Equal(order, []string{"b", "a", "c"}) {
		t.Errorf("order %v, want b first", order)
	}
}
