package system

import "testing"

// Commands counts the commands that clients send.
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
		if _, err := r.call("PING"); err != nil {
			t.Fatal(err)
		}
	}
	after, err := r.Commands()
	if err != nil {
		t.Fatal(err)
	}
	if pings := after["ping"] - before["ping"]; pings != 3 {
		t.Errorf("%d PINGs counted, want 3: before %v, after %v", pings, before, after)
	}
	if used, err := CPU(r.PIDs()...); err != nil || used < 0 {
		t.Errorf("CPU: %v, %v", used, err)
	}
	if memory, err := Memory(r.PIDs()...); err != nil || memory < 1<<20 {
		t.Errorf("Memory = %d bytes, %v, want at least 1 MiB", memory, err)
	}
}

func TestMetric(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\n\r\n# TYPE tidemark_connections gauge\n" +
		"tidemark_connections{transport=\"sse\"} 3\ntidemark_connections{transport=\"websocket\"} 4\ntidemark_connections_total 9\n"
	if got, err := metric(text, "tidemark_connections"); got != 7 || err != nil {
		t.Errorf("metric = %v, %v, want 7", got, err)
	}
}
