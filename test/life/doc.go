// Package life proves what a shard promises over its whole life. Writes, deletes, merges, force merges, snapshots, restores,
// reindexes and garbage collections follow each other in any order and come between each other's steps; workers are killed and
// drained at any call of the store, and some that were thought dead go on.
//
// What must be found comes from the manifests: each says who committed it, and a model says what that
// commit does to the documents. After each step no snapshot and no newest generation may miss a blob. Now and then,
// and at the end, a battery of queries must find the same, in the same order, with the same facets and stored fields, as in an index
// of the surviving documents that was built in one go; so must every snapshot once it is restored.
package life
