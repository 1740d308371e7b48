// Package snapshot is the task types that keep a generation of shards, and bring it back.
//
// A snapshot in the store is shallow: it copies manifests, which name blobs, and keeps those from garbage collection. It
// takes as long for a large shard as for a small one. A snapshot in the repository, a second store, is full: the blobs
// are copied there, but for those that an earlier snapshot brought, and compared by their hashes after the way.
//
// # Layout
//
// A store and a repository look alike:
//
//	_snapshot/<name>/begun.json                          see [Document]; created first: it takes the name
//	_snapshot/<name>/part/<shard>-<hash>-<part>.json     a manifest of the shard, whose blobs are pinned; part has 20 digits
//	_snapshot/<name>/snapshot.json                       see [Document]; created last: the snapshot is complete
//	<shard>/blob/<sha256>-<uuid>                         segment files: in the store the shard's own, in a repository copies
//
// While a copy to the repository runs, the store has a snapshot <name>@copy that pins what is being copied.
//
// # Promises
//
//   - A complete snapshot stays whole until it is deleted: neither merges, nor restores, nor the deletion of other
//     snapshots take a blob from it; and no collector that keeps to the rules of [Pins].
//   - A snapshot or a restore that is interrupted goes on where it was, on any node, and copies nothing twice.
//   - A restore takes effect once, as one generation, or not at all. What cannot be read (cut, changed, missing, of another
//     shard, of a newer format) is an error that names the object, before anything is committed.
//   - A restore into a shard that has moved on is refused unless it is forced.
package snapshot
