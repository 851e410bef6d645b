package redistest

import "testing"

func TestNewerHasWAITAOF(t *testing.T) {
	s := StartNewer(t, "--appendonly", "yes")
	client := s.Client()
	client.Set(t.Context(), "k", "v", 0)
	got, err := client.Do(t.Context(), "WAITAOF", 1, 0, 10_000).Slice()
	if err != nil || got[0] != int64(1) {
		t.Errorf("WAITAOF = %v, %v, want 1 local copy", got, err)
	}
}

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]bool{
		"7.0.15": false, "7.2.0": true, "8.0.2": true, "6.9": false, "of unknown version": false, "": false,
	} {
		if got := atLeast(version, 7, 2); got != want {
			t.Errorf("atLeast(%q, 7, 2) = %v", version, got)
		}
	}
}
