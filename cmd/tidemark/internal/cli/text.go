package cli

import (
	"strconv"
	"strings"
)

// Plural returns a count with its noun: "1 event", "2 events".
func Plural(n int, noun string) string {
	text := strconv.Itoa(n) + " " + noun
	if n != 1 {
		text += "s"
	}
	return text
}

// OneLine replaces line breaks and repeated spaces in text with single spaces.
func OneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
