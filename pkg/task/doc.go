// Package task is the model that producers, nodes and listeners share: what a
// task is, how it travels, which statuses it has, and what a worker is.
//
// It knows neither Kafka nor Redis. A producer names a type and parameters;
// a [Mux] holds one [Worker] per type; a node runs the worker under a claim
// and turns what it returns into a status. How errors are read:
//
//	nil                    SUCCESS
//	Permanent(err)         FAILED, and a dead letter
//	any other error, panic the next attempt after the policy's delay; FAILED and
//	                       a dead letter when no attempt is left
//
// A worker may run more than once for one task, on different nodes, and in
// rare cases (a frozen process) at the same time: it must be idempotent. Its
// AllocationID grows with every claim, so a store can refuse an older one.
package task
