package task_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

var idle = task.WorkerFunc(func(context.Context, *task.Execution) error { return nil })

// resize has its methods on the value, crop on the pointer.
type resize struct {
	Key   string `json:"key"`
	Width int    `json:"width"`
}

func (r resize) Validate() error {
	if r.Width < 0 {
		return errors.New("width is negative")
	}
	return nil
}

func (r resize) Describe() string { return "resize " + r.Key }

type crop struct {
	Width int `json:"width"`
}

func (c *crop) Validate() error {
	if c.Width < 0 {
		return errors.New("width is negative")
	}
	return nil
}

func (c *crop) Describe() string { return "crop" }

type plain struct{ N int }

func do(t testing.TB, d *task.Definition, params string) error {
	t.Helper()
	return d.Do(t.Context(), task.NewExecution(task.Envelope{ID: "a", Type: d.Type, Attempt: 1}, []byte(params), 1, nil, nil))
}

func TestDefinitions(t *testing.T) {
	mux := task.NewMux()
	mux.Register("b", idle)
	mux.Register("a", idle, task.Slots(3), task.Stall(time.Minute), task.Guarded(), task.Uncancellable(),
		task.Retry(task.RetryPolicy{MaxAttempts: 2}))
	require.Equal(t, []string{"a", "b"}, mux.Types())
	require.Nil(t, mux.Lookup("c"))

	b := mux.Lookup("b")
	require.Equal(t, task.DefaultRetry, b.Retry)
	require.Equal(t, 1, b.Slots)
	require.Zero(t, b.Stall)
	require.False(t, b.Guarded || b.Uncancellable)
	require.Nil(t, b.Check)

	a := mux.Lookup("a")
	require.Equal(t, 3, a.Slots)
	require.Equal(t, time.Minute, a.Stall)
	require.True(t, a.Guarded && a.Uncancellable)
	require.Equal(t, 2, a.Retry.MaxAttempts)
}

func TestMistakesOfTheProgramPanic(t *testing.T) {
	mux := task.NewMux()
	mux.Register("taken", idle)
	for name, register := range map[string]func(){
		"bad name":     func() { mux.Register("A", idle) },
		"taken":        func() { mux.Register("taken", idle) },
		"no worker":    func() { mux.Register("a", nil) },
		"no function":  func() { task.Handle[plain](mux, "a", nil) },
		"no slot":      func() { mux.Register("a", idle, task.Slots(0)) },
		"no attempt":   func() { mux.Register("a", idle, task.Retry(task.RetryPolicy{})) },
		"no max delay": func() { mux.Register("a", idle, task.Retry(task.RetryPolicy{MaxAttempts: 2, Initial: time.Second})) },
		"bad stall":    func() { mux.Register("a", idle, task.Stall(-1)) },
	} {
		require.Panics(t, register, name)
	}
	require.Equal(t, []string{"taken"}, mux.Types())
}

func TestParamsAreDecodedForTheWorker(t *testing.T) {
	mux := task.NewMux()
	var got []resize
	task.Handle(mux, "image.resize", func(_ context.Context, run *task.Run[resize]) error {
		got = append(got, run.Params)
		require.Equal(t, "a", run.ID)
		return nil
	})
	d := mux.Lookup("image.resize")
	require.NoError(t, do(t, d, `{"key":"cat.jpg","width":640,"new":true}`))
	require.NoError(t, do(t, d, ``))
	require.Equal(t, []resize{{"cat.jpg", 640}, {}}, got)
	require.NoError(t, d.Check([]byte(`{"width":1}`)))
	require.Equal(t, "resize cat.jpg", d.Describe([]byte(`{"key":"cat.jpg"}`)))
	require.Empty(t, d.Describe([]byte(`{`)))
}

func TestParamsThatDoNotDecodeOrValidateArePermanent(t *testing.T) {
	mux := task.NewMux()
	never := func(context.Context, *task.Execution) error { panic("not to be run") }
	task.Handle(mux, "value", func(ctx context.Context, run *task.Run[resize]) error { return never(ctx, run.Execution) })
	task.Handle(mux, "pointer", func(ctx context.Context, run *task.Run[crop]) error { return never(ctx, run.Execution) })
	task.Handle(mux, "to-pointer", func(ctx context.Context, run *task.Run[*crop]) error { return never(ctx, run.Execution) })
	for _, name := range mux.Types() {
		d := mux.Lookup(name)
		for _, params := range []string{`{`, `[]`, `{"width":"wide"}`, `{"width":-1}`, `{} {}`, "\xff"} {
			err := do(t, d, params)
			require.True(t, task.IsPermanent(err), "%s %s: %v", name, params, err)
			require.ErrorIs(t, err, task.ErrInvalid)
			require.ErrorIs(t, d.Check([]byte(params)), task.ErrInvalid)
		}
	}
}

func TestPointersAsParams(t *testing.T) {
	mux := task.NewMux()
	var widths []int
	task.Handle(mux, "crop", func(_ context.Context, run *task.Run[*crop]) error {
		widths = append(widths, run.Params.Width)
		return nil
	})
	d := mux.Lookup("crop")
	for _, params := range []string{``, `null`, `{"width":3}`} {
		require.NoError(t, do(t, d, params))
	}
	require.Equal(t, []int{0, 0, 3}, widths, "never nil")
	require.Equal(t, "crop", d.Describe(nil))

	task.Handle(mux, "plain", func(context.Context, *task.Run[plain]) error { return nil })
	require.Nil(t, mux.Lookup("plain").Describe)
}

func TestEncode(t *testing.T) {
	var none *resize
	for _, c := range []struct {
		params any
		want   string
	}{
		{nil, ""},
		{none, ""},
		{resize{"k", 1}, `{"key":"k","width":1}`},
		{&resize{"k", 1}, `{"key":"k","width":1}`},
		{crop{2}, `{"width":2}`},
		{&crop{2}, `{"width":2}`},
		{[]byte("not json"), "not json"},
		{json.RawMessage(`{"a": 1}`), `{"a": 1}`},
		{"text", `"text"`},
		{map[string]int{"b": 1, "a": 2}, `{"a":2,"b":1}`},
	} {
		got, err := task.Encode(c.params)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
	}
	for _, params := range []any{resize{Width: -1}, &resize{Width: -1}, crop{-1}, &crop{-1}, make(chan int), func() {}} {
		_, err := task.Encode(params)
		require.ErrorIs(t, err, task.ErrInvalid, "%T", params)
	}
}

func TestAPanicIsAFailedAttempt(t *testing.T) {
	mux := task.NewMux()
	mux.Register("panics", task.WorkerFunc(func(context.Context, *task.Execution) error { panic(task.Permanent(errors.New("boom"))) }))
	mux.Register("panics-nil", task.WorkerFunc(func(context.Context, *task.Execution) error { panic(nil) }))
	for _, name := range mux.Types() {
		err := do(t, mux.Lookup(name), "")
		var panicked *task.PanicError
		require.ErrorAs(t, err, &panicked)
		require.Contains(t, string(panicked.Stack), "mux_test.go", "the stack leads to the worker")
		require.False(t, task.IsPermanent(err), "another attempt may do better")
		require.Equal(t, "panic", task.Class(err))
	}
}
