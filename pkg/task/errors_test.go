package task_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestPermanent(t *testing.T) {
	cause := errors.New("no such shard")
	require.True(t, task.IsPermanent(task.Permanent(cause)))
	require.True(t, task.IsPermanent(fmt.Errorf("merge: %w", task.Permanent(cause))))
	require.True(t, task.IsPermanent(errors.Join(cause, task.Permanent(cause))))
	require.False(t, task.IsPermanent(cause))
	require.False(t, task.IsPermanent(nil))
	require.NoError(t, task.Permanent(nil))
	require.ErrorIs(t, task.Permanent(cause), cause)
	require.EqualError(t, task.Permanent(cause), "no such shard")
}

type missing struct{ shard string }

func (m missing) Error() string { return "no shard " + m.shard }

func TestClassIsTheInnermostTypeOfItsOwn(t *testing.T) {
	_, notThere := os.Open("/no/such/file")
	for _, c := range []struct {
		want string
		err  error
	}{
		{"", nil},
		{"error", fmt.Errorf("a: %w", errors.New("b"))},
		{"error", task.Permanent(errors.New("x"))},
		{"error", errors.Join(errors.New("a"), fmt.Errorf("b"))},
		{"task_test.missing", fmt.Errorf("a: %w", missing{"x"})},
		{"task_test.missing", errors.Join(errors.New("first"), missing{"x"}, &fs.PathError{Err: errors.New("odd")})},
		{"panic", fmt.Errorf("a: %w", &task.PanicError{Value: missing{"x"}})},
		{"deadline_exceeded", fmt.Errorf("a: %w", context.DeadlineExceeded)},
		{"canceled", task.Permanent(context.Canceled)},
		{"syscall.Errno", notThere},
		{"*fs.PathError", &fs.PathError{Op: "open", Path: "x", Err: errors.New("odd")}},
		{"*json.SyntaxError", fmt.Errorf("%w: %w", task.ErrInvalid, json.Unmarshal([]byte("{"), new(any)))},
	} {
		require.Equal(t, c.want, task.Class(c.err), "%v", c.err)
	}
}

func TestPanicsShowTheirValueAndStack(t *testing.T) {
	err := &task.PanicError{Value: "boom", Stack: []byte("goroutine 1")}
	require.EqualError(t, err, "panic: boom\ngoroutine 1")
}

func TestCutKeepsShortTextsAndWholeRunes(t *testing.T) {
	require.Equal(t, "short", task.Cut("short"))
	exact := strings.Repeat("x", task.MaxErrorBytes)
	require.Equal(t, exact, task.Cut(exact))

	rapid.Check(t, func(t *rapid.T) {
		runes := rapid.SliceOfN(rapid.SampledFrom([]rune{'a', 'ä', '語', '🜂'}), 0, 64).Draw(t, "runes")
		text := strings.Repeat(string(runes), rapid.IntRange(1, 60).Draw(t, "times"))
		cut := task.Cut(text)
		require.True(t, utf8.ValidString(cut))
		require.LessOrEqual(t, len(cut), task.MaxErrorBytes)
		if len(text) <= task.MaxErrorBytes {
			require.Equal(t, text, cut)
			return
		}
		kept, marked := strings.CutSuffix(cut, " …")
		require.True(t, marked)
		require.True(t, strings.HasPrefix(text, kept))
		require.Greater(t, len(cut), task.MaxErrorBytes-utf8.UTFMax, "no more is cut than must be")
	})
}

func TestCutOfBytesThatAreNoText(t *testing.T) {
	for _, text := range []string{strings.Repeat("\x80", 3000), strings.Repeat("a\xff", 3000), "\xff"} {
		cut := task.Cut(text)
		require.True(t, utf8.ValidString(cut))
		encoded, err := json.Marshal(cut)
		require.NoError(t, err)
		require.LessOrEqual(t, len(encoded), task.MaxErrorBytes+2)
	}
}
