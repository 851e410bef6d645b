package clientip

import (
	"iter"
	"slices"
	"strings"
)

// forwardedHops yields the value of "for" of each element of Forwarded, from right to
// left; "" for an element without one. A malformed line yields one "": the client may have
// opened a quoted string in it that swallows the elements that proxies appended.
func forwardedHops(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			hops, ok := parseForwarded(line)
			if !ok {
				hops = []string{""}
			}
			for _, hop := range slices.Backward(hops) {
				if !yield(hop) {
					return
				}
			}
		}
	}
}

// parseForwarded returns the value of "for" of each element in a line of Forwarded
// (RFC 7239, section 4), without quotes; "" for an element without one.
func parseForwarded(line string) (hops []string, ok bool) {
	for more := true; more; {
		var element string
		if element, line, more, ok = cutOutsideQuotes(line, ','); !ok {
			return nil, false
		}
		if strings.TrimSpace(element) == "" {
			continue
		}
		hop, ok := forOf(element)
		if !ok {
			return nil, false
		}
		hops = append(hops, hop)
	}
	return hops, true
}

// forOf returns the value of "for" in an element of Forwarded. ok is false if "for" occurs
// twice.
func forOf(element string) (value string, ok bool) {
	seen := false
	for more := true; more; {
		var pair string
		pair, element, more, _ = cutOutsideQuotes(element, ';') // the caller has seen all quotes closed
		name, v, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if seen {
			return "", false
		}
		seen, value = true, strings.Trim(v, `"`)
	}
	return value, true
}

// cutOutsideQuotes is strings.Cut for a separator outside of quoted strings (RFC 9110,
// section 5.6.4). ok is false if a quoted string is not closed.
func cutOutsideQuotes(s string, sep byte) (before, after string, found, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return s[:i], s[i+1:], true, true
		}
	}
	return s, "", false, !quoted
}
