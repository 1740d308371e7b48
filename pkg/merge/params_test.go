package merge

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func blobName(last string) shard.BlobName {
	return shard.BlobName(strings.Repeat("a", 64) + "-00000000-0000-4000-8000-00000000000" + last)
}

func TestTaskIDStandsForShardAndInputs(t *testing.T) {
	t.Parallel()
	p := Params{Shard: "books/0", Generation: 7, Inputs: []Input{{1, blobName("1")}, {2, blobName("2")}}}
	require.Equal(t, "merge-f28a07ce19f61fe99252e282b3cbf1e5", p.TaskID(), "nodes of all versions must compute the same")
	require.NoError(t, task.ValidateID(p.TaskID()))

	same := p
	same.Generation = 9
	same.Inputs = slices.Clone(p.Inputs)
	slices.Reverse(same.Inputs)
	require.Equal(t, p.TaskID(), same.TaskID())

	other := p
	other.Shard = "books/1"
	require.NotEqual(t, p.TaskID(), other.TaskID())
	other = p
	other.Inputs = p.Inputs[:1]
	require.NotEqual(t, p.TaskID(), other.TaskID())
	other.Inputs = []Input{{1, blobName("1")}, {2, blobName("3")}}
	require.NotEqual(t, p.TaskID(), other.TaskID())
}

func TestParamsReportEveryMistake(t *testing.T) {
	t.Parallel()
	good := Params{Shard: "books/0", Generation: 7, Inputs: []Input{{1, blobName("1")}}}
	require.NoError(t, good.Validate())
	require.Equal(t, "merge 1 segments of books/0", good.Describe())

	bad := Params{Shard: "../x", Inputs: []Input{{1, blobName("1")}, {1, "../../etc/passwd"}}}
	err := bad.Validate()
	for _, says := range []string{"shard name", "generation is missing", "an input twice", "blob name"} {
		require.ErrorContains(t, err, says)
	}
	good.Inputs = nil
	require.ErrorContains(t, good.Validate(), "0 inputs")
	good.Inputs = make([]Input, MaxInputs+1)
	require.ErrorContains(t, good.Validate(), "1001 inputs")

	many := Params{Shard: strings.Repeat("s", 200), Generation: 1}
	for i := range MaxInputs {
		many.Inputs = append(many.Inputs, Input{1<<40 + uint64(i), blobName("1")})
	}
	raw, err := task.Encode(many)
	require.NoError(t, err)
	require.Less(t, len(raw), task.MaxParamsBytes)
}

func TestParamsThatDoNotDecodeArePermanent(t *testing.T) {
	t.Parallel()
	n := newNode(t, Config{Store: nil})
	for _, raw := range []string{"{", `{"shard":"a"}`, `{"shard":"a/blob","generation":1,"inputs":[]}`, `[]`} {
		x := task.NewExecution(task.Envelope{ID: "x", Type: Type}, []byte(raw), 1, nil, nil)
		require.True(t, task.IsPermanent(n.definition.Do(t.Context(), x)), raw)
	}
}
