package demo_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/offline-nodes/offline-nodes/internal/demo"
)

func ExampleRun() {
	err := demo.Run(context.Background(), demo.Options{Corpus: "testdata", Documents: 5000, Out: os.Stdout})
	switch {
	case errors.Is(err, demo.ErrInterrupted):
	case err != nil:
		fmt.Println("it did not hold:", err)
	}
}
