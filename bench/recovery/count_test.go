package recovery

import "testing"

func TestCount(t *testing.T) {
	tests := []struct {
		name    string
		clients []received
		want    Count
	}{
		{"everything", []received{{events: []int{1, 2, 3, 4}}}, Count{Clients: 1, Events: 4}},
		{"nothing", []received{{}}, Count{Clients: 1, Events: 4, Missing: 4, Incomplete: 1, Untold: 1, Behind: 1}},
		{"end missing", []received{{events: []int{1, 2}}}, Count{Clients: 1, Events: 4, Missing: 2, Incomplete: 1, Untold: 1, Behind: 1}},
		{"told", []received{{events: []int{1, 4}, told: 2}}, Count{Clients: 1, Events: 4, Missing: 2, Incomplete: 1, Told: 1}},
		{"told and complete", []received{{events: []int{1, 2, 3, 4}, told: 1}}, Count{Clients: 1, Events: 4, Told: 1}},
		{"repeated", []received{{events: []int{1, 2, 2, 3, 4, 4, 4}}}, Count{Clients: 1, Events: 4, Repeated: 3}},
		{"late", []received{{events: []int{1, 3, 2, 4}}}, Count{Clients: 1, Events: 4, OutOfOrder: 1}},
		// A repeated event that arrives late is repeated, and not also out of order.
		{"replayed from the start", []received{{events: []int{1, 2, 1, 2, 3, 4}}}, Count{Clients: 1, Events: 4, Repeated: 2}},
		{"unknown numbers", []received{{events: []int{0, 1, 2, 3, 4, 9}}}, Count{Clients: 1, Events: 4}},
		{"two clients", []received{{events: []int{1, 2, 3, 4}}, {events: []int{4, 3}, told: 1}},
			Count{Clients: 2, Events: 4, Missing: 2, OutOfOrder: 1, Incomplete: 1, Told: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := count(tt.clients, 4); got != tt.want {
				t.Errorf("count = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Two groups of clients followed the same events, so the events are not summed.
func TestAdd(t *testing.T) {
	a := Count{Clients: 1, Events: 4, Missing: 2, Incomplete: 1, Untold: 1}
	b := Count{Clients: 2, Events: 4, Repeated: 3, OutOfOrder: 1, Told: 2}
	want := Count{Clients: 3, Events: 4, Missing: 2, Repeated: 3, OutOfOrder: 1, Incomplete: 1, Told: 2, Untold: 1}
	if got := a.Add(b); got != want || got.Expected() != 12 {
		t.Errorf("Add = %+v, expecting %d, want %+v", got, got.Expected(), want)
	}
}
