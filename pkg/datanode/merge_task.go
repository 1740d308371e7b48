package datanode

import (
	"path/filepath"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// newMerger returns the worker that offline nodes run too. Here its inputs are in the cache already.
func newMerger(n *Node) (*task.Definition, error) {
	mux := task.NewMux()
	err := merge.Register(mux, merge.Config{
		Store: n.cfg.Store, Scratch: filepath.Join(n.scratch, "merge"), Cache: n.cache, Node: n.cfg.Name,
		Throttle: n.throttle.wrote,
	})
	if err != nil {
		return nil, err
	}
	return mux.Lookup(merge.Type), nil
}
