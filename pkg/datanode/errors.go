package datanode

import (
	"errors"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

var (
	// ErrBusy says: too many writes wait, or too many segments wait to be merged. Nothing was written; try again later.
	ErrBusy = errors.New("too busy")

	// ErrNotWriter says: another data node has opened the shard for writing. Nothing was written, nor will be until the shard
	// is opened again here.
	ErrNotWriter = errors.New("another data node writes this shard")

	// ErrUnknown says: the store did not say whether the write was applied. Sending it again is safe.
	ErrUnknown = remotestore.ErrUnknown

	// ErrNoShard says: the node does not serve a shard of that name.
	ErrNoShard = errors.New("no such shard on this node")

	// ErrNotFound says: no document has this ID.
	ErrNotFound = errors.New("no such document")

	// ErrConflict says: the shard is there with another mapping.
	ErrConflict = errors.New("shard exists with another mapping")

	// ErrInvalid is a request that can never succeed. The message says what to change.
	ErrInvalid = errors.New("invalid request")

	// ErrNoQueue says: there is no task queue, or it did not accept the task.
	ErrNoQueue = errors.New("no task queue")

	// ErrClosed says: the shard or the node was closed.
	ErrClosed = errors.New("closed")

	// ErrDocument is what is wrong with a single document of a bulk.
	ErrDocument = shard.ErrDocument
)
