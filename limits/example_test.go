package limits_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/tidemark/tidemark/limits"
)

// Parse the rate of a configuration.
func ExampleParseRate() {
	for _, text := range []string{"100/s", "6000/m,50", "100"} {
		rate, err := limits.ParseRate(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(rate.Events, "per", rate.Per, "and", rate.Burst, "at once")
	}
	// Output:
	// 100 per 1s and 100 at once
	// 6000 per 1m0s and 50 at once
	// not a rate: "100": want one like 100/s, 6000/m, 50000/h or 100/s,200
}

// Limit how many events each caller may publish. The last argument is the smallest number
// that is still useful: a batch can be published in part.
func ExampleLocalLimiter_Take() {
	rate, err := limits.ParseRate("1/h,5")
	if err != nil {
		fmt.Println(err)
		return
	}
	limiter := limits.NewLocalLimiter(rate)
	for _, n := range []int{3, 4, 4} {
		d := limiter.Take(context.Background(), "ann", n, 1)
		fmt.Printf("asked for %d, granted %d, retry later: %t\n", n, d.Granted, d.RetryAfter > 0)
	}
	// Output:
	// asked for 3, granted 3, retry later: false
	// asked for 4, granted 2, retry later: true
	// asked for 4, granted 0, retry later: true
}

// Limit the open connections of a user.
func ExampleConnectionLimiter_Acquire() {
	limiter := limits.NewConnectionLimiter(limits.ConnectionOptions{PerUser: 1})
	defer limiter.Close()

	address := netip.MustParseAddr("192.0.2.1")
	slot, err := limiter.Acquire(context.Background(), address, "ann")
	fmt.Println(err)
	_, err = limiter.Acquire(context.Background(), address, "ann")
	fmt.Println(err)
	slot.Release()
	fmt.Println(limiter.Held())
	// Output:
	// <nil>
	// this user has as many connections as one may have: 1
	// 0
}
