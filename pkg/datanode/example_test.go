package datanode_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

func Example() {
	dir, err := os.MkdirTemp("", "cache-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	n, err := datanode.Open(datanode.Config{Name: "data-1", Store: remotestore.NewMemory(), Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer n.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()

	books, created, err := n.Create(ctx, "books/0", datanode.Settings{})
	fmt.Println(created, err)
	written, err := books.Bulk(ctx, []datanode.Op{
		{Kind: datanode.Index, ID: "1", Source: json.RawMessage(`{"title":"blue moon"}`)},
		{Kind: datanode.Delete, ID: "2"},
	})
	fmt.Println(written.Items[0].Outcome, written.Items[1].Outcome, err)
	_, err = books.Refresh(ctx)
	fmt.Println(err)
	found, err := books.Search(ctx, datanode.Query{Text: "moon", Size: 10})
	fmt.Println(found.Total, string(found.Hits[0].Source), err)

	cancel()
	fmt.Println(<-ended)
	// Output:
	// true <nil>
	// created not_found <nil>
	// <nil>
	// 1 {"title":"blue moon"} <nil>
	// <nil>
}
