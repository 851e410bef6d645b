package limits_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/limits"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]limits.Rate{
		"100/s":       {Events: 100, Per: time.Second, Burst: 100},
		"6000/m":      {Events: 6000, Per: time.Minute, Burst: 6000},
		"1/h,5":       {Events: 1, Per: time.Hour, Burst: 5},
		"1000000/s,1": {Events: 1_000_000, Per: time.Second, Burst: 1},
		"":            {},
	} {
		var got limits.Rate
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %+v %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"100", "100/", "/s", "0/s", "-1/s", "1.5/s", "100/d", "100/s,", "100/s,0", "100/s,x", "100/s,1,2", "1000001/s", "1e3/s", " 1/s"} {
		if got, err := limits.ParseRate(text); err == nil {
			t.Errorf("%q was accepted as %v", text, got)
		}
	}
}

func parse(t testing.TB, text string) limits.Rate {
	t.Helper()
	r, err := limits.ParseRate(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A parsed rate survives the way through its text, and its values are in range.
func FuzzParseRate(f *testing.F) {
	for _, text := range []string{"100/s", "6000/m,1", "1/h,1000000", "/", ","} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := limits.ParseRate(text)
		if err != nil {
			return
		}
		if again, err := limits.ParseRate(r.String()); err != nil || again != r {
			t.Errorf("%q is %+v, and its text %q is %+v (%v)", text, r, r, again, err)
		}
		if r.Events < 1 || r.Burst < 1 || r.Window() <= 0 {
			t.Errorf("%q is %+v", text, r)
		}
	})
}

// A bucket starts with its burst, refills at its rate up to the burst, and belongs to one
// caller.
func TestLocalRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in virtual time
		b := limits.NewLocalLimiter(parse(t, "10/s,5"))
		take := func(caller string, n, minimum int, want limits.Decision) {
			t.Helper()
			if got := b.Take(context.Background(), caller, n, minimum); got != want {
				t.Errorf("%d to %d: %+v, want %+v", minimum, n, got, want)
			}
		}
		const tenth = 100 * time.Millisecond
		take("a", 1, 1, limits.Decision{Granted: 1, Remaining: 4, ResetAfter: tenth})
		take("a", 5, 5, limits.Decision{Remaining: 4, RetryAfter: tenth, ResetAfter: tenth})
		take("a", 4, 4, limits.Decision{Granted: 4, ResetAfter: 5 * tenth})
		take("a", 1, 1, limits.Decision{RetryAfter: tenth, ResetAfter: 5 * tenth})
		take("b", 5, 5, limits.Decision{Granted: 5, ResetAfter: 5 * tenth})

		time.Sleep(3 * tenth)
		take("a", 5, 1, limits.Decision{Granted: 3, RetryAfter: 2 * tenth, ResetAfter: 5 * tenth})
		time.Sleep(tenth / 2)
		take("a", 2, 1, limits.Decision{RetryAfter: 3 * tenth / 2, ResetAfter: 9 * tenth / 2})
		time.Sleep(tenth / 2) // a fraction of a token is kept
		take("a", 1, 1, limits.Decision{Granted: 1, ResetAfter: 5 * tenth})

		time.Sleep(time.Hour)
		take("a", 6, 1, limits.Decision{Granted: 5, RetryAfter: tenth, ResetAfter: 5 * tenth})
	})
}

// Peek tells what Take would find, takes nothing, and makes no bucket.
func TestLocalPeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in virtual time
		b := limits.NewLocalLimiter(parse(t, "10/s,5"))
		const tenth = 100 * time.Millisecond
		expect := func(want limits.Decision) {
			t.Helper()
			for range 2 {
				if got := b.Peek(t.Context(), "a"); got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
			}
		}
		expect(limits.Decision{Remaining: 5})
		if n := limits.Kept(b); n != 0 {
			t.Errorf("%d buckets", n)
		}
		b.Take(t.Context(), "a", 4, 4)
		expect(limits.Decision{Remaining: 1, ResetAfter: 4 * tenth})
		b.Take(t.Context(), "a", 1, 1)
		expect(limits.Decision{RetryAfter: tenth, ResetAfter: 5 * tenth})
		time.Sleep(tenth / 2)
		expect(limits.Decision{RetryAfter: tenth / 2, ResetAfter: 9 * tenth / 2})
		time.Sleep(time.Minute)
		expect(limits.Decision{Remaining: 5})
	})
}

// A sweep keeps the buckets that are not full: a caller does not get new tokens because
// many others appeared.
func TestSweepKeepsWhatCallersHaveUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limits.NewLocalLimiter(parse(t, "1/h,2"))
		b.Take(t.Context(), "used up", 2, 2)
		b.Take(t.Context(), "half used", 1, 1)
		for i := range 10 * limits.MinSweep {
			b.Take(t.Context(), fmt.Sprint(i), 1, 1)
			time.Sleep(time.Millisecond)
		}
		if got := b.Take(t.Context(), "used up", 1, 1); got.Granted != 0 {
			t.Errorf("an empty bucket is full after a sweep: %+v", got)
		}
		if got := b.Take(t.Context(), "half used", 2, 1); got.Granted != 1 {
			t.Errorf("a half full bucket is full after a sweep: %+v", got)
		}
	})
}

// Buckets of inactive callers are dropped, and the number of buckets is bounded.
func TestLocalBucketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limits.NewLocalLimiter(parse(t, "1/s"))
		for i := range 2 * limits.MaxCallers {
			b.Take(context.Background(), fmt.Sprint(i), 1, 1)
			if n := limits.Kept(b); n > limits.MaxCallers {
				t.Fatalf("%d buckets", n)
			}
		}
		time.Sleep(time.Second)
		for i := range limits.MaxCallers {
			b.Take(context.Background(), fmt.Sprint("x", i), 1, 1)
		}
		for i := range limits.MinSweep {
			time.Sleep(time.Second)
			b.Take(context.Background(), fmt.Sprint("y", i), 1, 1)
		}
		if n := limits.Kept(b); n > limits.MinSweep {
			t.Errorf("%d buckets are kept though one caller at a time was active", n)
		}
	})
}
