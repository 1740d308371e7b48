package task_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

type Greeting struct {
	Name string `json:"name"`
}

func Example() {
	mux := task.NewMux()
	task.Handle(mux, "greet", func(_ context.Context, run *task.Run[Greeting]) error {
		run.Progress(0.5, "thinking of "+run.Params.Name)
		return run.SetResult("hello " + strings.ToUpper(run.Params.Name))
	}, task.Slots(4))

	// What a node does with a record of the type.
	x := task.NewExecution(task.Envelope{ID: "g-1", Type: "greet", Attempt: 1}, []byte(`{"name":"ada"}`), 1, nil, nil)
	err := mux.Lookup("greet").Do(context.Background(), x)
	fmt.Println(err, x.Report().Note, string(x.Report().Result))

	// A mistake in the parameters is no reason to try again.
	x = task.NewExecution(task.Envelope{ID: "g-2", Type: "greet", Attempt: 1}, []byte(`{"name":7}`), 1, nil, nil)
	err = mux.Lookup("greet").Do(context.Background(), x)
	fmt.Println(task.IsPermanent(err))
	// Output:
	// <nil> thinking of ada "hello ADA"
	// true
}
