// Package shard keeps a full-text index in an object store, where any machine can read it, search it, and commit to it.
//
// A shard is a list of immutable segments (bleve's zap files) with the documents deleted from each. The list is the
// manifest; it is the only truth. Each change is a new manifest, the next generation, taken by a create-only write:
// of all writers that race for a generation one wins, and the others read its work and try again on top of it. So a
// data node may write while many workers merge, and no lease, lock or clock decides what is in the shard.
//
// # Layout
//
// All keys of a shard start with its name:
//
//	<shard>/manifest/<generation, 20 digits>.json   see [Manifest]; created, never overwritten
//	<shard>/hint                                    a generation, 20 digits; overwritten, may lag behind
//	<shard>/blob/<sha256, 64 hex>-<uuid>            a segment file; written once
//	<shard>/pending/<name of a blob>                the blob is about to be committed; see [Shard.Reserve]
//	<shard>/gc/…                                    the garbage collector's own, see package remotegc
//
// # Promises
//
//   - [Shard.Commit] has applied a change exactly once when it returned nil, and a task's change at most once ever (as
//     long as applied tasks are remembered, see [Manifest.AppliedFor]).
//   - Deletions are never lost by a merge that began before them: [Commit] carries them into its output.
//   - A blob is used only after its SHA-256 was compared with its name.
//   - What cannot be read (cut, changed, of a newer format) is an error that names the object, never a guess.
//
// Manifests must be kept for longer than any writer may be frozen, at least a day: see [Shard.Commit].
//
// Everything is meant to work at a thousand segments and ten million documents per shard.
package shard
