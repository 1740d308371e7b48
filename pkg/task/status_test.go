package task_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestStatuses(t *testing.T) {
	for s, want := range map[task.Status]struct {
		name     string
		terminal bool
	}{
		task.Unassigned: {"UNASSIGNED", false}, task.Assigned: {"ASSIGNED", false}, task.Active: {"ACTIVE", false},
		task.Success: {"SUCCESS", true}, task.Failed: {"FAILED", true}, task.Cancelled: {"CANCELLED", true},
	} {
		require.Equal(t, want.name, s.String())
		require.Equal(t, want.terminal, s.Terminal())
		parsed, err := task.ParseStatus(want.name)
		require.NoError(t, err)
		require.Equal(t, s, parsed)

		encoded, err := json.Marshal(s)
		require.NoError(t, err)
		require.Equal(t, `"`+want.name+`"`, string(encoded))
		var decoded task.Status
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		require.Equal(t, s, decoded)
	}
}

func TestWhatIsNoStatus(t *testing.T) {
	for _, name := range []string{"", "success", "DONE", "Status(7)"} {
		_, err := task.ParseStatus(name)
		require.ErrorContains(t, err, "UNASSIGNED, ASSIGNED")
	}
	require.Equal(t, "Status(7)", task.Status(7).String())
	require.Error(t, json.Unmarshal([]byte(`"DONE"`), new(task.Status)))
}
