package task

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"time"
)

// Worker runs the tasks of one type. Work returns nil when the task is done;
// the package comment says how errors are read. It must return soon after ctx
// ends; context.Cause(ctx) says why it ended.
type Worker interface {
	Work(ctx context.Context, x *Execution) error
}

// WorkerFunc makes a function a [Worker].
type WorkerFunc func(ctx context.Context, x *Execution) error

// Work calls f.
func (f WorkerFunc) Work(ctx context.Context, x *Execution) error { return f(ctx, x) }

// Definition is a task type as a node runs it.
type Definition struct {
	Type   string
	Worker Worker
	Retry  RetryPolicy
	// Slots is how many tasks of the type one node runs at a time.
	Slots int
	// Stall ends an attempt that reports no progress for so long; 0: never.
	Stall time.Duration
	// Guarded tells that the store refuses a stale worker's effect, so a run
	// goes on while Redis is away instead of ending with its trust window.
	Guarded bool
	// Uncancellable types refuse cancel requests once a node runs them.
	Uncancellable bool
	// Check decodes and validates parameters without running them.
	Check func(params []byte) error
	// Describe is one line for people about a task with these parameters; nil
	// when the type has none.
	Describe func(params []byte) string
}

// Option changes a [Definition].
type Option func(*Definition)

// Retry replaces [DefaultRetry].
func Retry(policy RetryPolicy) Option { return func(d *Definition) { d.Retry = policy } }

// Slots sets how many tasks of the type a node runs at a time; 1 unless set.
func Slots(n int) Option { return func(d *Definition) { d.Slots = n } }

// Stall sets how long a run may be silent.
func Stall(timeout time.Duration) Option { return func(d *Definition) { d.Stall = timeout } }

// Guarded declares that a store refuses stale effects.
func Guarded() Option { return func(d *Definition) { d.Guarded = true } }

// Uncancellable declares that a running task does not stop on request.
func Uncancellable() Option { return func(d *Definition) { d.Uncancellable = true } }

// Mux holds one worker per task type. Register everything before a node gets
// it; reading is safe for concurrent use.
type Mux struct{ definitions map[string]*Definition }

// NewMux returns an empty Mux.
func NewMux() *Mux { return &Mux{definitions: map[string]*Definition{}} }

// Register adds a type whose parameters are not decoded for it. It panics when the
// name is invalid or taken: that is a mistake in the program.
func (m *Mux) Register(name string, worker Worker, options ...Option) {
	d := &Definition{Type: name, Worker: worker, Retry: DefaultRetry, Slots: 1}
	for _, option := range options {
		option(d)
	}
	if err := ValidateType(name); err != nil {
		panic(fmt.Sprintf("task: register: %v", err))
	}
	if m.definitions[name] != nil {
		panic(fmt.Sprintf("task: register: type %q has a worker already", name))
	}
	if d.Slots < 1 || d.Stall < 0 || worker == nil {
		panic(fmt.Sprintf("task: register: type %q needs a worker, one slot at least, and a stall timeout of 0 or more", name))
	}
	if err := d.Retry.Validate(); err != nil {
		panic(fmt.Sprintf("task: register: type %q: %v", name, err))
	}
	m.definitions[name] = d
}

// Lookup returns the definition of a type, or nil.
func (m *Mux) Lookup(name string) *Definition { return m.definitions[name] }

// Types lists the registered types, sorted.
func (m *Mux) Types() []string { return slices.Sorted(maps.Keys(m.definitions)) }

// Validator is implemented by parameters that can be wrong although they
// decode. Submit calls it too, so a mistake is told to its maker.
type Validator interface{ Validate() error }

// Describer is implemented by parameters that can say in one line what the
// task does; tables and logs show it.
type Describer interface{ Describe() string }

// Handle registers a worker for parameters of type P, decoded from JSON.
// Parameters that do not decode or validate are a permanent failure. When P
// (or *P) is a [Validator] or [Describer], these are used.
func Handle[P any](m *Mux, name string, work func(ctx context.Context, run *Run[P]) error, options ...Option) {
	check := func(params []byte) error {
		_, err := decode[P](params)
		return err
	}
	worker := WorkerFunc(func(ctx context.Context, x *Execution) error {
		p, err := decode[P](x.Raw)
		if err != nil {
			return Permanent(err)
		}
		return work(ctx, &Run[P]{Execution: x, Params: *p})
	})
	set := func(d *Definition) {
		d.Check = check
		if implements[P, Describer]() {
			d.Describe = describe[P]
		}
	}
	if work == nil {
		panic(fmt.Sprintf("task: register: type %q needs a worker", name))
	}
	m.Register(name, worker, append([]Option{set}, options...)...)
}

// describe asks parameters of a [Describer] type what the task does.
func describe[P any](params []byte) string {
	p, err := decode[P](params)
	if err != nil {
		return ""
	}
	d, _ := as[Describer](p)
	return d.Describe()
}

// as returns *p, or p itself, as an I: whichever has its methods.
func as[I, P any](p *P) (I, bool) {
	if i, ok := any(p).(I); ok {
		return i, true
	}
	i, ok := any(*p).(I)
	return i, ok
}

func implements[P, I any]() bool {
	wanted := reflect.TypeFor[I]()
	return reflect.TypeFor[P]().Implements(wanted) || reflect.TypeFor[*P]().Implements(wanted)
}

// decode reads and validates parameters; empty ones are P's zero value, or one
// that it points to.
func decode[P any](params []byte) (*P, error) {
	p := new(P)
	if len(params) > 0 {
		if err := json.Unmarshal(params, p); err != nil {
			return nil, fmt.Errorf("%w: parameters are no %s: %w", ErrInvalid, reflect.TypeFor[P](), err)
		}
	}
	if v := reflect.ValueOf(p).Elem(); v.Kind() == reflect.Pointer && v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
	if v, ok := as[Validator](p); ok {
		if err := v.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return p, nil
}

// Encode turns parameters into what a record carries: JSON, but for []byte and
// json.RawMessage, which go as they are, and nil, which is none. A [Validator]
// is asked first.
func Encode(params any) ([]byte, error) {
	if v := reflect.ValueOf(params); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, nil
	}
	if v, ok := validator(params); ok {
		if err := v.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	switch p := params.(type) {
	case nil:
		return nil, nil
	case []byte:
		return p, nil
	case json.RawMessage:
		return p, nil
	}
	b, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("%w: encode parameters: %w", ErrInvalid, err)
	}
	return b, nil
}

// validator finds Validate on params, or on a pointer to a copy of them.
func validator(params any) (Validator, bool) {
	if v, ok := params.(Validator); ok || params == nil {
		return v, ok
	}
	p := reflect.New(reflect.TypeOf(params))
	p.Elem().Set(reflect.ValueOf(params))
	return reflect.TypeAssert[Validator](p)
}

// Do runs the definition's worker and turns a panic into a [PanicError].
func (d *Definition) Do(ctx context.Context, x *Execution) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return d.Worker.Work(ctx, x)
}
