package recovery

// A Count sums up what the clients of a trial received.
type Count struct {
	Clients    int `json:"clients"`    // clients that followed the room
	Events     int `json:"events"`     // events published and acknowledged
	Missing    int `json:"missing"`    // deliveries that never came, summed over clients
	Repeated   int `json:"repeated"`   // deliveries beyond the first of an event
	OutOfOrder int `json:"outOfOrder"` // first deliveries that came after a later event
	Incomplete int `json:"incomplete"` // clients that miss at least one event
	Told       int `json:"told"`       // clients that were told that events may be missing
	Untold     int `json:"untold"`     // incomplete clients that were not told
	Behind     int `json:"behind"`     // clients that did not receive the last event
}

// Expected returns the number of deliveries that a trial without a loss would have.
func (c Count) Expected() int { return c.Clients * c.Events }

// Perfect reports whether each client received each event once and in order.
func (c Count) Perfect() bool { return c.Missing+c.Repeated+c.OutOfOrder == 0 }

// Add returns the sum of two groups of clients that followed the same events.
func (c Count) Add(o Count) Count {
	return Count{
		Clients: c.Clients + o.Clients, Events: max(c.Events, o.Events),
		Missing: c.Missing + o.Missing, Repeated: c.Repeated + o.Repeated, OutOfOrder: c.OutOfOrder + o.OutOfOrder,
		Incomplete: c.Incomplete + o.Incomplete, Told: c.Told + o.Told, Untold: c.Untold + o.Untold, Behind: c.Behind + o.Behind,
	}
}

// A received lists the events and messages of one client.
type received struct {
	events []int // numbers of the events, as they arrived
	told   int   // how often the client was told that events may be missing
}

// count compares what each client received with the events 1 to published.
func count(clients []received, published int) Count {
	sum := Count{Clients: len(clients), Events: published}
	for _, c := range clients {
		seen, latest, first := make([]bool, published+1), 0, 0
		for _, n := range c.events {
			switch {
			case n < 1 || n > published: // not an event of this trial
			case seen[n]:
				sum.Repeated++
			default:
				seen[n] = true
				first++
				if n < latest {
					sum.OutOfOrder++
				}
			}
			latest = max(latest, n)
		}
		if !seen[published] {
			sum.Behind++
		}
		missing := published - first
		sum.Missing += missing
		if c.told > 0 {
			sum.Told++
		}
		if missing > 0 {
			sum.Incomplete++
			if c.told == 0 {
				sum.Untold++
			}
		}
	}
	return sum
}
