//go:build !synctests

package node

// points are the named steps at which a simulation stops or crashes a node, and
// the seams where it puts a mutant in. In a release build they are nothing.
type points struct{}

func (points) reach(string) {}

func (points) publisher(p publisher) publisher { return p }

func (points) consumer(c consumer) consumer { return c }
