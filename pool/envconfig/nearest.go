package envconfig

import "strings"

// typo is up to how many edits from a known name a name outside the prefix is
// taken to be meant for it.
const typo = 2

// nearest returns the known name that takes the fewest edits to make of name.
func nearest(name string, known []string) (closest string, edits int) {
	edits = -1
	for _, k := range known {
		if d := distance(name, k); edits < 0 || d < edits {
			closest, edits = k, d
		}
	}
	return closest, edits
}

// distance counts the bytes that have to be put in, left out, replaced, or
// exchanged with their neighbour (the optimal string alignment distance, after
// Damerau 1964 and Levenshtein 1966).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1) // rows[i][j]: from the first i of a to the first j of b
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			d := min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

// variableNames are the names of everything that can be set.
var variableNames = func() []string {
	names := []string{enclavesName}
	for _, v := range variables {
		names = append(names, v.name)
	}
	return names
}()

// strayName tells whether name, which no setting has, is meant to be one: it
// has the prefix, or is a slip of the keyboard away. closest is what may have
// been meant.
func strayName(name string) (closest string, stray bool) {
	name = strings.ToUpper(name[:min(len(name), maxNameLen)])
	closest, edits := nearest(name, variableNames)
	return closest, strings.HasPrefix(name, prefix) || edits <= typo
}

// maxNameLen is how much of a name is compared; none that is known is as long.
const maxNameLen = 64
