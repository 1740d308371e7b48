// Package reindex is the task type that indexes the documents of a shard anew: under another mapping, in another format of
// segments, all or some of them, changed or not, into another shard or in place.
//
// A reindex is a parent and, for each slice, a child that copies. Slices are by a hash of the document's ID, so an ID is one
// slice's alone, in whatever segment it is.
//
//	source   7 ──────── 8 ── 9 ─── 10 ── 11 ────── 12          generations: writes, merges, restores
//	         │ pinned            │ pinned      │
//	slices   └ copy 7 ───────────┘ 7…10 ───────┘               round 0, then rounds that catch up, while there is much
//	parent                                      10…11 ┐ switch  the rest, then one commit
//	target   ─────────────────────────────────────────┴──────
//
// # What becomes visible, and when
//
// Nothing until the switch, and everything by it: one commit of the target. A data node follows it like every other
// generation. What the slices build is uploaded to the target's blobs, but named by manifests that are none of a shard's,
// in the folder _reindex/<task id>. So there is no alias and nothing to look up, a reindex that fails or is cancelled leaves the target
// as it was, and a target that is new is created by the switch.
//
//   - In place, the switch replaces all segments and the mapping. It is a commit on the very generation that was caught up
//     with, so no write is lost. After three turns in which a writer was faster it asks the data node to let it commit first
//     ([shard.Hold]): writes wait then, for as long as the last of them takes to be caught up with.
//   - Another target gets all documents added, of the generation of the source that [Result].SourceGeneration names. Writes after
//     it are not followed. IDs that it has already are conflicts; see [Conflicts]. There are no versions of documents here, so a
//     document that the reindex did not write is somebody else's, whatever is in it.
//
// # Promises
//
//   - The target has, after the switch, what a plain index of the source's documents would have: no document twice, none
//     missing, those deleted meanwhile gone.
//   - Any run may be killed at any moment, and several may run at once. Each commit of a slice carries the mark of how far it
//     has come, and is refused when it does not begin at the mark that is there: a run goes on where the last commit
//     ended, wherever it runs. The task's own checkpoint is not needed for it. The switch is applied once, by the target's applied tasks.
//   - What can never work is refused when it is submitted or, if only the store can tell, by a permanent failure: mapping, query,
//     transform, a document that cannot be indexed, a blob that is corrupt or gone.
//
// Catching up compares two manifests: segments that are new, and deletions that are. A merge moves documents, so what is in
// both with the same source is left alone.
//
// # Garbage collection
//
// The pinned generation is copied into the folder, so it does not matter when its manifest is collected. Its blobs, and those that are built,
// are reserved when a slice starts and again every half an hour while one runs; a reservation counts for
// [shard.ReservationLife]. A reindex that could not run for so long fails with an error that names what is gone. The folder and
// the reservations go when the switch is made. Redriving a reindex that failed goes on where it was, until garbage collection takes what
// it has left: blobs when their reservations have ended, the folder when nothing was written there for as long.
package reindex
