// Package tasktest runs a worker as a node would, without any server: for the
// tests of whoever writes task types.
//
// Parameters are encoded as Submit does and decoded as a node does, the context
// ends with the same causes, a panic becomes the same error, and [Result] says
// what a node would make of the end. [Result.Again] is the run that follows it,
// with the checkpoint that the first one left.
//
// It runs one attempt in the goroutine of its caller. Times are real: use
// testing/synctest where a test would have to wait.
package tasktest
