package settings

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/service"
)

// A RetentionRule is a retention rule in the form PATTERN=EVENTS,AGE, or PATTERN=EVENTS
// with the default age. The pattern may contain "=" and ",", as room names do.
type RetentionRule service.RetentionRule

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *RetentionRule) UnmarshalText(text []byte) error {
	s := string(text)
	i := strings.LastIndexByte(s, '=')
	if i < 1 {
		return fmt.Errorf("%q: want PATTERN=EVENTS,AGE such as 'chat:*=5000,7d'", s)
	}
	retention := service.DefaultRetention()
	events, age, hasAge := strings.Cut(s[i+1:], ",")
	n, err := strconv.Atoi(events)
	if err != nil || n < 0 {
		return fmt.Errorf("%q: %q is not a number of events: want PATTERN=EVENTS,AGE such as 'chat:*=5000,7d'", s, events)
	}
	retention.Events = n
	if hasAge {
		if retention.Age, err = ParseAge(age); err != nil {
			return fmt.Errorf("%q: %w", s, err)
		}
	}
	*r = RetentionRule{Pattern: s[:i], Retention: retention}
	return nil
}

func (r RetentionRule) String() string {
	return fmt.Sprintf("%s=%d,%v", r.Pattern, r.Retention.Events, Age(r.Retention.Age))
}
