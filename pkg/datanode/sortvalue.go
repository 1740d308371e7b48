package datanode

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/blevesearch/bleve/v2/numeric"
	"github.com/blevesearch/bleve/v2/search"
)

// sortedBy returns the values that a hit was sorted by, for people: bleve keeps numbers and dates in a binary form.
func sortedBy(match *search.DocumentMatch) []string {
	values := slices.Clone(match.Sort)
	for i, value := range values {
		if i < len(match.DecodedSort) && match.DecodedSort[i] != value {
			values[i] = match.DecodedSort[i]
		} else if text, ok := decodeNumber(value); ok {
			values[i] = text
		}
	}
	return values
}

// decodeNumber reads a number or a date. Both are eight bytes, and fields without a type in the mapping do not tell which:
// dates of our time, taken for numbers, are of the order of 1e-190.
func decodeNumber(value string) (string, bool) {
	if value == "" || value[0] != numeric.ShiftStartInt64 {
		return "", false
	}
	n, err := numeric.PrefixCoded(value).Int64()
	if err != nil {
		return "", false
	}
	f := numeric.Int64ToFloat64(n)
	if f != 0 && math.Abs(f) < 1e-100 {
		return time.Unix(0, n).UTC().Format(time.RFC3339Nano), true
	}
	return strconv.FormatFloat(f, 'g', -1, 64), true
}
