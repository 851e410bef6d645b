package system

import "testing"

// Commands counts what clients send and what scripts call.
func TestCommands(t *testing.T) {
	r, err := StartRedis(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	before, err := r.Commands()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.ask("PING"); err != nil {
			t.Fatal(err)
		}
	}
	after, err := r.Commands()
	if err != nil {
		t.Fatal(err)
	}
	if pings := after["ping"] - before["ping"]; pings != 3 {
		t.Errorf("%d commands counted, want 3: %v, then %v", pings, before, after)
	}
	if used, err := CPU(r.PIDs()...); err != nil || used < 0 {
		t.Errorf("CPU: %v, %v", used, err)
	}
	if memory, err := Memory(r.PIDs()...); err != nil || memory < 1<<20 {
		t.Errorf("Memory: %d bytes, %v: want a megabyte at least", memory, err)
	}
}

func TestMetric(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\n\r\n# TYPE tidemark_connections gauge\n" +
		"tidemark_connections{transport=\"sse\"} 3\ntidemark_connections{transport=\"websocket\"} 4\ntidemark_connections_total 9\n"
	if got, err := metric(text, "tidemark_connections"); got != 7 || err != nil {
		t.Errorf("the sum is %v, want 7: %v", got, err)
	}
}
