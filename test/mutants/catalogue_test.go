package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	goSwitch = regexp.MustCompile(`mutant\.On\("([^"]+)"\)`)
	luaEdit  = regexp.MustCompile(`(?m)^\t"([^"]+)": +\{\{`)
)

// TestEveryRuleIsInTheCatalogue: what can be broken is, and what is said to be broken can be.
func TestEveryRuleIsInTheCatalogue(t *testing.T) {
	var switches []string
	for _, dir := range []string{"pkg", "internal", "cmd"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found := goSwitch
			if strings.HasSuffix(path, "claims/mutants.go") {
				found = luaEdit
			}
			for _, m := range found.FindAllStringSubmatch(string(source), -1) {
				switches = append(switches, m[1])
			}
			return nil
		}))
	}
	slices.Sort(switches)
	var rules []string
	for _, r := range catalogue {
		if !r.own {
			rules = append(rules, r.rule)
		}
	}
	slices.Sort(rules)
	require.Equal(t, slices.Compact(switches), rules)
}
