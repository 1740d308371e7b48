package faults

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestThereAre36RowsAndEveryProofExists(t *testing.T) {
	require.Len(t, Rows, 36)
	for i, row := range Rows {
		require.Equal(t, i+1, row.Number)
		require.NotEmpty(t, row.Invariants, row.Number)
		require.Equal(t, row.Bound > 0, row.Why != "", "row %d: a bound and what it is made of", row.Number)
		require.False(t, len(row.Proofs) == 0 && row.Open == "", "row %d: no proof, and nothing said about it", row.Number)
		for _, invariant := range row.Invariants {
			require.Contains(t, Invariants, invariant)
		}
		for _, p := range row.Proofs {
			require.True(t, exists(t, p), "row %d: there is no %s in %s", row.Number, p.Test, p.Package)
		}
	}
}

// Every test of a row is in the table, or `make faults` would not run it.
func TestEveryRowTestIsInTheTable(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func (TestRow\d\w+)\(`).FindAllSubmatch(text, -1) {
			require.True(t, named(string(m[1])), "%s is in no row", m[1])
		}
	}
}

func named(test string) bool {
	for _, row := range Rows {
		if slices.Contains(row.Proofs, Proof{Real, "test/faults", test}) {
			return true
		}
	}
	return false
}

func exists(t *testing.T, p Proof) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", p.Package, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if strings.Contains(string(text), "\nfunc "+p.Test+"(") {
			return true
		}
	}
	return false
}

func TestAReportClaimsNothingThatDidNotRun(t *testing.T) {
	row, err := Of(13)
	require.NoError(t, err)
	report := func(results []Result) string {
		var b bytes.Buffer
		require.NoError(t, Report(&b, results, "a machine"))
		return b.String()
	}
	line := func(text string) string {
		return regexp.MustCompile(`(?m)^\| \[13\].*$`).FindString(text)
	}
	require.Contains(t, line(report(nil)), "| not run |")

	var all []Result
	for _, p := range row.Proofs {
		all = append(all, Result{Package: p.Package, Test: p.Test, Passed: 1, When: time.Now()})
	}
	all[0].Passed = 3
	for _, seconds := range []int{15, 19, 16} {
		all[0].Measured = append(all[0].Measured, Measured{Recovery: time.Duration(seconds) * time.Second, Recovered: "x", Checked: []string{"y"}})
	}
	require.Contains(t, line(report(all)), "| passed | 3 | 16.0 s, 19.0 s | 20 s |")

	missing := append([]Result(nil), all[1:]...)
	require.Contains(t, line(report(missing)), "| partly run |")
	skipped := append([]Result(nil), all...)
	skipped[1].Passed, skipped[1].Skipped, skipped[1].Why = 0, 1, "no right to"
	require.Contains(t, line(report(skipped)), "| partly run |")
	require.Contains(t, report(skipped), "not run here: no right to")
	failed := append([]Result(nil), all...)
	failed[0].Failed = 1
	require.Contains(t, line(report(failed)), "| FAILED |")
}
