package task_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func submission(t testing.TB, options ...task.SubmitOption) task.Submission {
	t.Helper()
	s, err := task.NewSubmission("image.resize", resize{"k", 1}, options...)
	require.NoError(t, err)
	return s
}

func TestASubmissionIsWhole(t *testing.T) {
	before := time.Now()
	s := submission(t)
	require.NoError(t, task.ValidateID(s.ID))
	require.False(t, s.Chosen || s.Unique || s.Again)
	require.Equal(t, 1, s.Attempt)
	require.JSONEq(t, `{"key":"k","width":1}`, string(s.Params))
	require.False(t, s.SubmittedAt.Before(before))
	require.NotEqual(t, s.ID, submission(t).ID)
}

func TestOptionsOfASubmission(t *testing.T) {
	at := time.Now().Add(time.Hour)
	s := submission(t, task.ID("mine"), task.At(at), task.Deadline(at.Add(1)), task.MaxAttempts(2), task.OpaqueID("o"), task.ContentType("text/plain"))
	require.Equal(t, "mine", s.ID)
	require.True(t, s.Chosen)
	require.Equal(t, at, s.NotBefore)
	require.Equal(t, at.Add(1), s.Deadline)
	require.Equal(t, 2, s.MaxAttempts)
	require.Equal(t, "o", s.OpaqueID)
	require.Equal(t, "text/plain", s.ContentType)

	s = submission(t, task.In(time.Minute))
	require.Equal(t, s.SubmittedAt.Add(time.Minute), s.NotBefore)
}

func TestAUniqueKeyIsTheID(t *testing.T) {
	a, b := submission(t, task.Unique("k")), submission(t, task.Unique("k"), task.Again())
	require.Equal(t, a.ID, b.ID)
	require.True(t, a.Unique && a.Chosen && b.Again)
	require.NoError(t, task.ValidateID(a.ID))
	require.NotEqual(t, a.ID, submission(t, task.Unique("l")).ID)

	other, err := task.NewSubmission("image.crop", nil, task.Unique("k"))
	require.NoError(t, err)
	require.NotEqual(t, a.ID, other.ID, "a key is its type's own")

	year := 365 * 24 * time.Hour
	first, second := submission(t, task.UniqueFor("k", year)), submission(t, task.UniqueFor("k", year))
	require.Equal(t, first.ID, second.ID)
	require.NotEqual(t, a.ID, first.ID)
	before, after := submission(t, task.UniqueFor("k", time.Nanosecond)), submission(t, task.UniqueFor("k", time.Nanosecond))
	require.NotEqual(t, before.ID, after.ID)
}

func TestSubmissionsThatCannotBeAccepted(t *testing.T) {
	for name, make := range map[string]func() (task.Submission, error){
		"type":     func() (task.Submission, error) { return task.NewSubmission("A", nil) },
		"empty id": func() (task.Submission, error) { return task.NewSubmission("a", nil, task.ID("")) },
		"params":   func() (task.Submission, error) { return task.NewSubmission("a", crop{-1}) },
		"size": func() (task.Submission, error) {
			return task.NewSubmission("a", []byte(strings.Repeat("x", task.MaxParamsBytes+1)))
		},
		"past":   func() (task.Submission, error) { return task.NewSubmission("a", nil, task.In(-time.Hour)) },
		"future": func() (task.Submission, error) { return task.NewSubmission("a", nil, task.In(task.MaxRunAt+time.Hour)) },
	} {
		_, err := make()
		require.ErrorIs(t, err, task.ErrInvalid, name)
	}
}
