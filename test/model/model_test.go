package model

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// run is one exhaustive search. One with a mutant must find an error; the
// others must not.
type run struct {
	model   string
	defines string
	claim   string // of linear temporal logic; "" where assertions and dead ends tell
	mutant  string
	ends    bool // a state from which nothing goes on is an error
	long    bool // more than a few seconds: only with MODEL_LONG=1
}

var runs = []run{
	{model: "queue", defines: "REDELIVERIES=0"},
	{model: "queue", long: true},
	{model: "queue", defines: "FLUSHES=1 REVOKES=0 REDELIVERIES=0"},
	{model: "queue", defines: "FLUSHES=1 REVOKES=0", long: true},
	{model: "queue", defines: "TWIN REVOKES=0 REDELIVERIES=0"},
	{model: "queue", defines: "COPY REDELIVERIES=0 REVOKES=0", long: true},
	{model: "queue", defines: "CANCEL REVOKES=0 REDELIVERIES=0"},
	{model: "queue", defines: "CANCEL", long: true},
	{model: "queue", defines: "DETACHES=1 REDELIVERIES=0 REVOKES=0", long: true},
	{model: "queue", defines: "AGAIN REVOKES=0 REDELIVERIES=0", long: true},
	{model: "queue", defines: "REDRIVE FLUSHES=1 REVOKES=0 REDELIVERIES=0", long: true},
	{model: "queue", mutant: "SUPERSEDED_FIRST"},
	{model: "queue", mutant: "SUPERSEDED_WHILE_OWED", defines: "DETACHES=1 REDELIVERIES=0 REVOKES=0", long: true},
	{model: "queue", mutant: "TERMINAL_NOT_OWED"},
	{model: "queue", mutant: "PUT_BACK_ANY", long: true},
	{model: "queue", mutant: "EVENT_BEFORE_LETTER", defines: "FLUSHES=1 REVOKES=0"},
	{model: "queue", mutant: "CLAIM_WHILE_COLD", defines: "FLUSHES=1 REVOKES=0"},
	{model: "queue", mutant: "NO_REBUILD", defines: "FLUSHES=1 REVOKES=0"},
	{model: "queue", mutant: "TOKENS_REPEAT", defines: "FLUSHES=1 REVOKES=0"},
	{model: "queue", mutant: "CONFLICT_AFTER_OWED", defines: "TWIN REVOKES=0 REDELIVERIES=0"},
	{model: "queue", mutant: "ANEW_WHILE_OWED", defines: "AGAIN REVOKES=0 REDELIVERIES=0"},
	{model: "queue", mutant: "REDRIVE_WITHOUT_EVENT", defines: "REDRIVE FLUSHES=1 REVOKES=0 REDELIVERIES=0"},

	{model: "commit", claim: "once"},
	{model: "commit", claim: "kept"},
	{model: "commit", claim: "once", mutant: "NO_APPLIED"},
	{model: "commit", claim: "kept", mutant: "OVERWRITE"},

	{model: "family", ends: true},
	{model: "family", ends: true, defines: "CANCEL"},
	{model: "family", ends: true, mutant: "WAIT_HOLDS_SLOT"},
	{model: "family", ends: true, mutant: "WAKE_ONLY"},
	{model: "family", ends: true, mutant: "NO_BAN", defines: "CANCEL"},
}

// TestModels searches every state that the models can reach.
func TestModels(t *testing.T) {
	testkit.SkipIfShort(t)
	for _, program := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: `make deps` installs it", program)
		}
	}
	for _, r := range runs {
		if r.long && os.Getenv("MODEL_LONG") == "" {
			continue
		}
		t.Run(strings.Trim(fmt.Sprint(r.model, " ", r.defines, " ", r.mutant, " ", r.claim), " "), func(t *testing.T) {
			t.Parallel()
			report := r.search(t)
			require.NotContains(t, report, "max search depth too small")
			require.NotContains(t, report, "out of memory")
			if r.mutant == "" {
				require.Contains(t, report, "errors: 0", "%s", report)
			} else {
				require.Contains(t, report, "errors: 1", "a rule that no run misses is needless, or its test is missing")
			}
			for line := range strings.Lines(report) {
				if strings.Contains(line, "states, stored") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// search makes the model's verifier and returns what it prints.
func (r run) search(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs(r.model + ".pml")
	require.NoError(t, err)
	args := []string{"-a"}
	for d := range strings.FieldsSeq(r.defines) {
		args = append(args, "-D"+d)
	}
	if r.mutant != "" {
		args = append(args, "-DM_"+r.mutant)
	}
	must := func(name string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), name, args...) //nolint:gosec // of this test's own making
		cmd.Dir = dir
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(t, cmd.Run(), "%s", &out)
		return out.String()
	}
	must("spin", append(args, source)...)
	compile := []string{"-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=8000", "-DVECTORSZ=2048"}
	if r.claim == "" {
		compile = append(compile, "-DNOCLAIM")
	}
	must("gcc", append(compile, "-o", "pan", "pan.c")...)
	search := []string{"-m400000"}
	if !r.ends {
		search = append(search, "-E")
	}
	if r.claim != "" {
		search = append(search, "-N", r.claim)
	}
	return must("./pan", search...)
}
