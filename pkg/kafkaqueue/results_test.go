package kafkaqueue

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// FuzzDecodeEvent feeds the results topic with anything: it is an event that
// tells an outcome, and is the same when it is told again, or it is refused as invalid.
func FuzzDecodeEvent(f *testing.F) {
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := decodeEvent(&kgo.Record{Value: value})
		if err != nil {
			if !errors.Is(err, task.ErrInvalid) {
				t.Fatalf("unexplained: %v", err)
			}
			return
		}
		require.NotEmpty(t, e.TaskID)
		require.True(t, e.Status.Terminal())
		require.GreaterOrEqual(t, e.Replay, 0)
		again, err := json.Marshal(e)
		if err != nil {
			return // a time or a result that no JSON can say
		}
		twice, err := decodeEvent(&kgo.Record{Value: again})
		require.NoError(t, err, "%s", again)
		require.Equal(t, [3]any{e.TaskID, e.Status, e.Replay}, [3]any{twice.TaskID, twice.Status, twice.Replay})
	})
}
