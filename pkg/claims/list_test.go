package claims

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// FuzzCursor takes cursors as a caller may bring them back: each names a place in its listing, or is refused.
func FuzzCursor(f *testing.F) {
	f.Fuzz(func(t *testing.T, cursor string) {
		for _, filter := range []Filter{{}, {Statuses: []task.Status{task.Active}}, {Statuses: []task.Status{task.Failed}}} {
			at, err := (&Store{}).parseCursor(filter, cursor)
			if err != nil {
				if !errors.Is(err, ErrInvalid) {
					t.Fatalf("unexplained: %v", err)
				}
				continue
			}
			require.Equal(t, filter.index(), at.index)
			require.GreaterOrEqual(t, at.part, 0)
			again, err := (&Store{}).parseCursor(filter, at.String())
			require.NoError(t, err)
			require.Equal(t, at, again)
		}
	})
}
