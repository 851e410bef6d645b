package recovery

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWords(t *testing.T) {
	tests := []struct {
		count Count
		want  string
	}{
		{Count{Clients: 50, Events: 230}, "all 11,500 delivered"},
		{Count{Clients: 50, Events: 230, Told: 50}, "all 11,500 delivered, and told that some may be missing"},
		{Count{Clients: 50, Events: 230, Told: 3}, "all 11,500 delivered, and 3 of 50 clients told that some may be missing"},
		{Count{Clients: 50, Events: 230, Missing: 312, Incomplete: 40, Untold: 40}, "312 of 11,500 missing, **not told**"},
		{Count{Clients: 50, Events: 230, Missing: 312, Incomplete: 40, Told: 50}, "312 of 11,500 missing, told"},
		// Clients that miss nothing do not count as told.
		{Count{Clients: 50, Events: 230, Missing: 312, Incomplete: 40, Untold: 30, Told: 20}, "312 of 11,500 missing, 10 of 40 clients told"},
		{Count{Clients: 50, Events: 230, Repeated: 2, OutOfOrder: 1}, "none missing, 2 repeated, 1 out of order"},
	}
	for _, tt := range tests {
		if got := tt.count.words(); got != tt.want {
			t.Errorf("words of %+v = %q, want %q", tt.count, got, tt.want)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}

// The tables replace the lines between the markers. The rest of the page stays.
func TestWriteInto(t *testing.T) {
	document := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(document, []byte("before\n"+beginMarker+"\nold\n"+endMarker+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeInto(document, "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + beginMarker + "\n\nnew\n\n" + endMarker + "\nafter\n"; string(got) != want {
		t.Errorf("document = %q, want %q", got, want)
	}
	if err := os.WriteFile(document, []byte("no markers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeInto(document, "new\n"); err == nil {
		t.Error("writeInto a document without markers succeeded")
	}
}

// A later result of the same trial and system replaces the earlier one.
func TestReportSet(t *testing.T) {
	var r Report
	r.set(Result{Trial: 1, System: "nchan", Error: "nginx is missing"})
	r.set(Result{Trial: 2, System: "nchan", Groups: []Group{
		{Name: "connected", Count: Count{Clients: 1, Events: 2}},
		{Name: "away", Count: Count{Clients: 1, Events: 2, Missing: 1, Incomplete: 1, Untold: 1}},
	}})
	if got, want := r.cell(1, "nchan"), "not measured: nginx is missing"; got != want {
		t.Errorf("cell = %q, want %q", got, want)
	}
	if got, want := r.cell(2, "nchan"), "connected: all 2 delivered<br>away: 1 of 2 missing, **not told**"; got != want {
		t.Errorf("cell = %q, want %q", got, want)
	}
	r.set(Result{Trial: 1, System: "nchan", Groups: []Group{{Count: Count{Clients: 1, Events: 2}}}})
	if got, want := r.cell(1, "nchan"), "all 2 delivered"; got != want || len(r.Results) != 2 {
		t.Errorf("cell = %q of %d results, want %q of 2", got, len(r.Results), want)
	}
	if got, want := r.cell(1, "other"), "not measured"; got != want {
		t.Errorf("cell = %q, want %q", got, want)
	}
}
