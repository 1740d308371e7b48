// Package demo shows the main job on one machine, with processes that stand
// for machines: a data node indexes and searches real documents while two
// offline nodes merge its segments; the node that is merging is killed, the
// other one takes over, and in the end everything is counted and compared.
//
// [Run] prints what happens when it happens, then a table, and returns an error
// when something did not hold: a failed search, a lost document, a hit that
// changed, a task that was not taken over in time.
//
// It leaves nothing behind, however it ends: the processes it starts die with
// it, its folder is removed, and on real servers so is everything under its own
// random prefix. Only kill -9 of the demo itself leaves the folder.
package demo
