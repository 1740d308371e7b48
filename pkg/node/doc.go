// Package node runs tasks: it joins the queue, the claims and the workers, and
// owns every decision about the order of effects.
//
// A [Service] is one process's part in the fleet. For each of its types it
// polls records, claims what it has free slots for, runs the workers, and
// settles what came of them:
//
//	claim (Redis) → run → settle (Redis) → dead letter, event or next record
//	(Kafka, acked) → finish the record → commit
//
// A crash between any two steps loses nothing: the record comes again, and its
// claim is answered with what is still owed. A record whose task another node
// runs is parked, not skipped, so a rebalance never restarts a running task.
//
// What it promises, and what it does not, is in ARCHITECTURE.md at the root of
// the module.
package node
