package datanode

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// roomy is a queue with a fleet that has room. It is asked for nothing else.
type roomy struct{ Queue }

func (roomy) Fleet(context.Context, string) (Fleet, error) { return Fleet{Nodes: 1, Slots: 4}, nil }

func TestThePolicyLeavesAShardToItsForceMerge(t *testing.T) {
	policy := DefaultPlan()
	n, err := Open(Config{
		Name: "data-1", Store: remotestore.NewMemory(), Dir: t.TempDir(), Queue: roomy{}, Plan: &policy,
		Offline: Offline{MinBytes: 1}, Limits: Limits{Segments: 100},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	sh, _, err := n.Create(t.Context(), "books", Settings{})
	require.NoError(t, err)
	written := 0
	fill := func(to int) {
		for ; written < to; written++ {
			_, err := sh.Bulk(t.Context(), []Op{{Kind: Index, ID: fmt.Sprint(written), Source: json.RawMessage(`{}`)}})
			require.NoError(t, err)
		}
	}
	under := func() (types []string) {
		sh.planByPolicy(t.Context())
		for _, m := range sh.merges.each() {
			types = append(types, m.Type)
		}
		return types
	}
	fill(merge.DefaultAtOnce + 1)
	_, err = sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	fill(49)
	require.Equal(t, []string{merge.ForceType}, under())
	fill(50)
	require.Contains(t, under(), merge.Type, "writes would soon have to wait")
}
