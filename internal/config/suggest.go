package config

import (
	"slices"
	"strings"
)

// nearest is the candidate that name most likely means, or "".
func nearest(name string, candidates []string) string {
	best, least := "", len(name)/3+2
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to change, add, drop or swap with their
// neighbour to turn a into b.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// unknown is the advice for a key that does not exist at path.
func unknown(path []string) string {
	parent := schema
	for i, part := range path {
		below := parent.child(part)
		if below == nil {
			return misspelled(path[:i], part, path[i+1:], parent)
		}
		parent = below
	}
	return "no such setting"
}

// misspelled suggests the sibling that is meant, or the same name elsewhere.
func misspelled(above []string, name string, rest []string, parent *node) string {
	if parent.typ != nil {
		return "no such setting: " + join(above) + " is a value, not a section"
	}
	var names []string
	for _, c := range parent.children {
		names = append(names, c.name)
	}
	if near := nearest(name, names); near != "" {
		meant := append(append(slices.Clip(above), near), rest...)
		return "no such setting: did you mean " + join(meant) + "?"
	}
	if key := elsewhere(append([]string{name}, rest...)); key != "" {
		return "no such setting: did you mean " + key + " (" + Variable(key) + ")?"
	}
	if len(above) == 0 {
		return "no such setting: there are " + strings.Join(names, ", ")
	}
	return "no such setting: " + join(above) + " has " + strings.Join(names, ", ")
}

// elsewhere is the key that has this name in another section, or that is
// written like it but for the dots.
func elsewhere(path []string) (key string) {
	schema.leaves(nil, func(leaf []string, _ *node) {
		same := len(path) == 1 && leaf[len(leaf)-1] == path[0]
		if key == "" && (same || strings.Join(leaf, "_") == strings.Join(path, "_")) {
			key = join(leaf)
		}
	})
	return key
}
