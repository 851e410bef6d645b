package settings

import "slices"

// nearest returns the name with the smallest edit distance to key.
func nearest(key string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return editDistance(key, a) - editDistance(key, b) })
}

// editDistance returns the Levenshtein distance: how many characters must be changed, added
// or removed to turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1) // row[j]: distance from the part of a read so far to b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
