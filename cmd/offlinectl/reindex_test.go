//go:build synctests

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestReindex(t *testing.T) {
	steps := filepath.Join(t.TempDir(), "steps.json")
	require.NoError(t, os.WriteFile(steps, []byte(`[{"op":"remove","field":"draft"}]`), 0o600))
	in(t, func(s *session) {
		s.Node("node-a", obey)
		s.Submit("first", `"ok"`)
		s.Ended("first")
		for says, args := range map[string]string{
			"name a source":          "reindex start",
			"a query in place":       "reindex start books --query moon",
			"transform, step 1":      `reindex start books --transform [{"op":"eval","field":"x"}]`,
			"--transform is no JSON": "reindex start books --transform {",
			"exclude each other":     "reindex start books --mapping {} --field a=text",
			"is not one of":          "reindex start books --field a=words",
			"no such file":           "reindex start books --mapping @" + steps + ".not",
			"--timeout goes":         "reindex start books --timeout 5s",
			"name one task":          "reindex status",
		} {
			r := s.Run(args)
			require.Equal(s.T, cli.NotDone, r.Code, args)
			require.Contains(s.T, r.Err, says)
		}
		r := s.Run("reindex start books books-2 --id r1 --slices 2 --rate 10 --conflicts proceed --field title=keyword --transform @" + steps)
		require.Equal(s.T, cli.Done, r.Code, r.Err)
		require.Equal(s.T, "r1\n", r.Out)

		r = s.Run("reindex status r1 --json")
		require.Equal(s.T, cli.Done, r.Code, r.Err)
		var state struct {
			Type   string            `json:"type"`
			Status task.Status       `json:"status"`
			Slices []json.RawMessage `json:"slices"`
		}
		require.NoError(s.T, json.Unmarshal([]byte(r.Out), &state))
		require.Equal(s.T, reindex.Type, state.Type)
		require.Equal(s.T, task.Unassigned, state.Status)
		require.Empty(s.T, state.Slices)
		s.Submit("other", `"ok"`)
		require.Equal(s.T, cli.Failed, s.Run("reindex status other").Code)
		require.Equal(s.T, cli.Failed, s.Run("reindex status nobody").Code)

		r = s.Run("reindex list")
		require.Contains(s.T, r.Out, "r1 ")
		require.NotContains(s.T, r.Out, "other")
		r = s.Run("reindex cancel r1")
		require.Equal(s.T, "r1  CANCELLED\n", r.Out, r.Err)
	})
}
