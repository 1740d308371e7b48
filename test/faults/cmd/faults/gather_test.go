package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/faults"
)

const said = `{"Action":"run","Test":"TestA"}
{"Action":"attr","Test":"TestA","Key":"faults.row","Value":"{\"row\":13,\"recovery_ns\":2000000000}"}
{"Action":"pass","Test":"TestA/part","Elapsed":1}
{"Action":"pass","Test":"TestA","Elapsed":1}
{"Action":"fail","Test":"TestA","Elapsed":1}
{"Action":"output","Test":"TestB","Output":"    b_test.go:3: no right to mount\n"}
{"Action":"skip","Test":"TestB","Elapsed":0}
{"Action":"pass","Test":"TestOther","Elapsed":0}
not json
`

func TestWhatGoTestSaysIsCountedPerTest(t *testing.T) {
	g := gather(strings.NewReader(said), part{folder: "test/x", tests: []string{"TestA", "TestB", "TestC"}}, io.Discard)
	now := time.Now()
	require.Equal(t, []faults.Result{
		{Package: "test/x", Test: "TestA", Passed: 1, Failed: 1, When: now, Commit: "c", Measured: []faults.Measured{{Row: 13, Recovery: 2 * time.Second}}},
		{Package: "test/x", Test: "TestB", Skipped: 1, Why: "no right to mount", When: now, Commit: "c"},
		{Package: "test/x", Test: "TestC", When: now, Commit: "c"},
	}, g.results(now, "c"))
}

func TestRealRowsRunLastAndEachTestOnce(t *testing.T) {
	parts := packages(faults.Rows)
	require.True(t, parts[len(parts)-1].real)
	for i, p := range parts {
		require.Equal(t, i == len(parts)-1, p.real)
		seen := map[string]bool{}
		for _, test := range p.tests {
			require.False(t, seen[test], "%s twice", test)
			seen[test] = true
		}
	}
	_, err := chosen("13,99")
	require.Error(t, err)
}

func TestAReportHoldsTheLastAuditIfThereWasOne(t *testing.T) {
	var page strings.Builder
	path := filepath.Join(t.TempDir(), "soak.json")
	require.NoError(t, audit(&page, path, &faults.Soaked{}))
	require.Empty(t, page.String())
	require.NoError(t, faults.WriteAudit(path, &faults.Soaked{Kept: true, Accepted: 7}))
	require.NoError(t, audit(&page, path, &faults.Soaked{}))
	require.Contains(t, page.String(), "7 tasks accepted")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	require.Error(t, audit(&page, path, &faults.Soaked{}))
}
