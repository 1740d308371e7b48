package shard

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// Names yields the names of all shards in a folder of the store, such as "books/" (the shard "books" is one of them),
// or in all of it when prefix is empty. A shard is what has a generation or a blob; folders of
// the store that start with an underscore hold other things. The cost grows with the number of
// shards, and not with what is in them where the store can list folders: see [remotestore.Folders].
func Names(ctx context.Context, store remotestore.Store, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names(ctx, store, prefix, yield)
	}
}

// names visits the folders below one, and tells whether to go on.
func names(ctx context.Context, store remotestore.Store, folder string, yield func(string, error) bool) bool {
	var inner []string
	isShard := false
	for f, err := range remotestore.Folders(ctx, store, folder) {
		if err != nil {
			return yield("", fmt.Errorf("list shards: %w", err)) && false
		}
		if strings.HasPrefix(f, apart) {
			continue
		}
		switch strings.TrimPrefix(f, folder) {
		case manifestDir, blobDir:
			isShard = true
		case pendingDir, GarbageDir:
		default:
			if f[0] != '_' {
				inner = append(inner, f)
			}
		}
	}
	if name := strings.TrimSuffix(folder, "/"); isShard && CheckName(name) == nil && !yield(name, nil) {
		return false
	}
	return !slices.ContainsFunc(inner, func(f string) bool { return !names(ctx, store, f, yield) })
}
