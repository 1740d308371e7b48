package shard

import "strings"

// holdMark is what the task of a writer begins with whose generation asks others to wait.
const holdMark = "hold:"

// Hold returns the generation that follows cur and changes nothing but asks those who write the shard to let a task
// commit first: one whose work takes longer than the time between their commits would never be first. It is a request: data nodes
// heed it for some seconds, and nothing that is committed depends on it. It may be repeated.
func Hold(cur Manifest, w Writer) Manifest {
	next := cur.Clone()
	next.Generation++
	w.Task = holdMark + w.Task
	next.Writer = w
	next.Applied = applied(cur, Writer{})
	return next
}

// HeldFor returns the task that a generation was held for; ok is false for a generation that is no hold.
func HeldFor(m Manifest) (task string, ok bool) { return strings.CutPrefix(m.Writer.Task, holdMark) }
