package result

import (
	"math"
	"strconv"
	"strings"
)

// Number formats a value with three significant digits, thousands separators and no
// exponent, such as 0.66, 9.71, 147 and 302,000.
func Number(value float64) string {
	decimals := 0
	if size := math.Abs(value); size > 0 && size < 100 {
		decimals = 2 - int(math.Floor(math.Log10(size)))
	}
	if value >= 10_000 {
		step := math.Pow(10, math.Floor(math.Log10(value))-2)
		value = math.Round(value/step) * step
	}
	text := strconv.FormatFloat(value, 'f', decimals, 64)
	whole, rest, fraction := strings.Cut(text, ".")
	if fraction {
		if rest = strings.TrimRight(rest, "0"); rest != "" {
			rest = "." + rest
		}
	}
	return grouped(whole) + rest
}

// grouped inserts commas between thousands.
func grouped(digits string) string {
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
