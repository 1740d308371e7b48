// Package datanode is the data node's side of a shard: it writes and searches shards that live in an object store, and
// has their segments merged, here or on offline nodes.
//
//	n, err := datanode.Open(datanode.Config{Name: "data-1", Store: store, Dir: "/var/cache/data", Queue: queue})
//	go n.Run(ctx)                                       // follows the store, refreshes, merges
//	books, _, err := n.Create(ctx, "books/0", datanode.Settings{})
//	result, err := books.Bulk(ctx, []datanode.Op{{Kind: datanode.Index, ID: "1", Source: source}})
//	found, err := books.Search(ctx, datanode.Query{Match: map[string]string{"title": "moon"}})
//
// # Promises
//
//   - A bulk whose error is nil is in the store, whole: one segment, and what it deletes of the others. The local disk is a
//     cache; a node that starts anew with an empty one serves the same documents.
//   - A bulk whose error is not nil left nothing behind, unless the error is [ErrUnknown]; sending it again is safe.
//   - A search never fails or sees half a change because a generation is replaced under it. It sees every write that was
//     acknowledged before the last refresh; [Shard.Get] sees every acknowledged write.
//   - Merges never lose a write or a delete, whoever runs them and however often: the store's manifest decides.
//
// One data node writes a shard. Opening a shard for writing is a commit of its own, and from then on the node that opened
// it before is refused with [ErrNotWriter]: the last one to open wins. Merging workers commit beside it.
//
// # Merges
//
// Which segments are merged is decided by bleve's merge policy on the manifest. Where, by [Mode] and what the queue
// tells: see [Config]. An offline merge is a task of package merge; its end is heard as an event or seen in the manifest,
// whichever comes first, so a lost event costs a few seconds. What no offline node does in time is done here.
package datanode
