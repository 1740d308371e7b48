// Package remotegc is the task type that deletes what nobody needs from the shards of a store: old generations, blobs
// that no generation names any more, what dead workers have left, and uploads that were never finished.
//
// # What is kept
//
//   - The newest generation, and each other one for a day after the next one has replaced it. Only an unbroken row of the
//     oldest goes, one by one: see [shard.Shard.Commit] for writers that were frozen.
//   - A generation that no earlier run has seen, however old.
//   - Blobs that a kept generation, a snapshot ([Config].Pins) or a reservation names. A reservation is heeded for
//     [shard.ReservationLife].
//   - Any other blob for the grace of a day, counted from the first run that found that nobody needs it. That run writes
//     it down; a later run deletes it if nobody needs it then.
//
// What a task keeps in a folder of its own ([Config].Leftovers) goes as a whole when nothing in it was written for as long as
// a reservation is heeded.
//
// When something that could name a blob cannot be read, nothing is deleted in that shard; when it is a snapshot, nothing at
// all. All times are the store's, which dates what it stores; only uploads and leftovers are judged by the local clock.
//
// # What others have to do
//
//   - Whoever uploads a blob commits it within the grace, or reserves it first and commits it within half of
//     [shard.ReservationLife].
//   - Whoever reads a generation to take a snapshot of it writes the pins within the grace after that generation was
//     deleted, or looks whether it is still there once the pins are written.
//   - Whoever restores a snapshot commits within the grace after the snapshot was deleted.
//
// # Why nothing that is needed goes
//
// A run reads, in this order: the clock; the ledger of the run before it, which has a list of candidates and the newest
// generation at its time; the blobs; reservations; pins; generations. Then it creates its own ledger under the next
// number, and deletes. Call two runs that follow each other in ledgers A and B. B deletes a blob only if A or one before it
// found it unneeded more than the grace ago, and B finds it unneeded.
//
//	worker     uploads ── reserves … commits ── unreserves
//	collector          lists blobs ── reads reservations ── reads generations
//
// A need passes from a reservation to a generation, and from a pin to a generation that restores it. What it passes from is
// read first, so it is seen in one of them. Blobs are listed before all these, so one that comes later is not judged.
//
//	snapshot   reads 7 ──────────────────────── pins its blobs
//	collector          A: keeps 7 ── B: reads pins, deletes 7, marks its blobs ──── C: reads pins, keeps the blobs
//
// The blobs of a generation are marked no earlier than by the run that deletes it. The run that could delete them comes a grace
// later, and reads the pins again.
//
//	restore    reads snapshot s ─────────── commits 9 from it
//	others             delete s                  replace 9 by 10 ── snapshot u of 9 … delete u ── restore u …
//	collector             A: marks a blob                                                      B: 9 is still there
//
// What is garbage can only come back by a restore like this one, within the grace, and that takes a generation. It came
// after A, so B keeps it and sees the blob in it. Without that rule B would delete the blob as one that is
// garbage since A, while the restore of u may need it.
//
//	collector 1   reads ledger 4 …………………………… frozen for days …………………………… creates 5: it exists, or is not the last
//	collector 2          creates 5 ── deletes … creates 6 ── deletes, removes 5
//
// Of collectors that read the same ledger one creates the next; the others end without effect. One that was frozen for so
// long that its number is free again finds that it is not the last. One that is frozen later, while it deletes, does no
// harm: what nobody may commit any more stays garbage for ever, as names of blobs are never used again.
//
//	collector     creates ledger 5 ── deletes some of it ── dies
//	the next one                                                   reads 5, which names also what was about to be deleted
//
// A writer that is frozen for more than a day may create, in the row of generations that were deleted, one that is not the
// newest. [shard.Shard.Commit] finds out and commits again; what it leaves is deleted like any other.
package remotegc
