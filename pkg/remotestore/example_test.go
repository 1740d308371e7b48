package remotestore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// Two writers want the same key; the body of each holds something that only it has.
func Example() {
	ctx := context.Background()
	store, err := remotestore.Open(ctx, remotestore.Config{URL: "mem://"})
	if err != nil {
		panic(err)
	}
	if err := remotestore.SelfTest(ctx, store); err != nil {
		panic(err)
	}
	fmt.Println("first:", store.Create(ctx, "generation/7", []byte("nonce of the first")))
	err = store.Create(ctx, "generation/7", []byte("nonce of the second"))
	fmt.Println("second lost:", errors.Is(err, remotestore.ErrExists))
	for object, err := range store.List(ctx, "generation/", "") {
		fmt.Println(object.Key, object.Bytes, err)
	}
	// Output:
	// first: <nil>
	// second lost: true
	// generation/7 18 <nil>
}
