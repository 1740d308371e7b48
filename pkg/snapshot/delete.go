package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Delete removes a snapshot from the store, complete or not; its blobs become the collector's. It is no error if there is
// none, and it may be repeated. A snapshot that is being made is to be cancelled before: its task would leave something.
func Delete(ctx context.Context, store remotestore.Store, name string) error {
	if err := remove(ctx, store, documentKey(name)); err != nil {
		return err
	}
	return removeParts(ctx, store, name)
}

// DeleteCopy removes a snapshot from a repository, with the blobs that no other one there needs, and from the store what
// pins blobs for it. It returns the bytes of the blobs. If any other snapshot cannot be read, nothing is deleted.
//
// It is safe beside snapshots that are being made. These take over blobs only of complete ones, and look after they have
// written their own pins whether the document of the other is still there; here the document goes first, and
// then the pins are read.
func DeleteCopy(ctx context.Context, repository, store remotestore.Store, name string) (freed int64, err error) {
	if _, err := needed(ctx, repository, name); err != nil {
		return 0, fmt.Errorf("nothing was deleted: %w", err)
	}
	if err := remove(ctx, repository, documentKey(name)); err != nil {
		return 0, err
	}
	keep, err := needed(ctx, repository, name)
	if err != nil {
		return 0, err
	}
	keys, err := partKeys(ctx, repository, name)
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		m, _, err := readPart(ctx, repository, key)
		if errors.Is(err, shard.ErrNotFound) || errors.Is(err, shard.ErrCorrupt) || errors.Is(err, shard.ErrFormat) {
			continue // its blobs are not known, so they stay
		}
		if err != nil {
			return freed, err
		}
		bytes, err := deleteBlobs(ctx, repository, m, keep)
		freed += bytes
		if err != nil {
			return freed, err
		}
	}
	if err := Delete(ctx, store, name+copySuffix); err != nil {
		return freed, err
	}
	return freed, removeParts(ctx, repository, name)
}

// needed returns the blobs that other snapshots need.
func needed(ctx context.Context, store remotestore.Store, except string) (map[shard.BlobName]bool, error) {
	blobs := map[shard.BlobName]bool{}
	for p, err := range pinsExcept(ctx, store, except) {
		if err != nil {
			return nil, err
		}
		blobs[p.Blob] = true
	}
	return blobs, nil
}

// deleteBlobs deletes the blobs of a part that are there and not to be kept.
func deleteBlobs(ctx context.Context, repository remotestore.Store, m shard.Manifest, keep map[shard.BlobName]bool) (freed int64, err error) {
	s, err := shard.Open(repository, m.Shard)
	if err != nil {
		return 0, err
	}
	there, err := blobsOf(ctx, s)
	if err != nil {
		return 0, err
	}
	for _, seg := range m.Segments {
		bytes, ok := there[seg.Blob]
		if !ok || keep[seg.Blob] {
			continue
		}
		if err := s.DeleteBlob(ctx, seg.Blob); err != nil {
			return freed, err
		}
		freed += bytes
	}
	return freed, nil
}

// blobsOf returns the sizes of a shard's blobs.
func blobsOf(ctx context.Context, s *shard.Shard) (map[shard.BlobName]int64, error) {
	there := map[shard.BlobName]int64{}
	for b, err := range s.Blobs(ctx) {
		if err != nil {
			return nil, err
		}
		there[b.Name] = b.Bytes
	}
	return there, nil
}

// partKeys lists the parts of a snapshot.
func partKeys(ctx context.Context, store remotestore.Store, name string) (keys []string, err error) {
	for o, err := range store.List(ctx, root+name+"/"+partsDir, "") {
		if err != nil {
			return nil, fmt.Errorf("list parts of snapshot %s: %w", name, err)
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}

// removeParts removes what is left of a snapshot. The name is free again when nothing is.
func removeParts(ctx context.Context, store remotestore.Store, name string) error {
	keys, err := partKeys(ctx, store, name)
	if err != nil {
		return err
	}
	for _, key := range append(keys, begunKey(name)) {
		if err := remove(ctx, store, key); err != nil {
			return err
		}
	}
	return nil
}

func remove(ctx context.Context, store remotestore.Store, key string) error {
	if err := store.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}
