// Package merge is the task type that merges segments of a shard into one, on any machine.
//
// A data node plans a merge and submits [Params] under the ID that [Plan] computes; a worker fetches the segments,
// merges them without the documents that are deleted by then, uploads the result, and commits it. Deletions that
// arrive meanwhile are carried over by the commit.
//
// It may run any number of times, on any nodes, at the same time: at most one run has an effect. The others find that
// the inputs are gone or that the task is applied, and succeed without one; [Result] says which.
//
// A force merge ([ForceParams]) is a second type, a parent: it plans rounds of merges, on the newest generation each, and
// waits for them as its children.
//
// The checkpoint of a merge is taken when the result is uploaded: a run after that only commits.
package merge
