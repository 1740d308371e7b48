package snapshot

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Pin is a blob that a snapshot needs.
type Pin struct {
	Shard      string
	Generation uint64 // that the snapshot keeps; its manifest itself is not needed, the snapshot has a copy
	Blob       shard.BlobName
}

// Pins yields every blob that snapshots of a store need, those that are being made included; a blob comes once for each.
// It stops at the first error. Whatever cannot be read or is not known here is one: a collector must then delete nothing.
//
// # Why a snapshot that begins meanwhile loses nothing
//
// A snapshot reads the newest manifest, writes the pin, and then looks whether the manifest is still there; if it is not,
// the pin does not count and the next attempt takes a newer one. A collector has to keep what the manifests name
// that it leaves, and to read the pins once more between the deletion of a manifest and that of its blobs. So if the
// snapshot found the manifest after it had written the pin, the manifest was deleted later, and the pins read later still:
//
//	snapshot   reads manifest 7 ── writes pin ── manifest 7 is there
//	collector                                         deletes manifest 7 ── reads pins ── deletes blobs, not these
//
// The other interleaving is that the collector was faster:
//
//	snapshot   reads manifest 7 ────────────────────────── writes pin ── manifest 7 is gone: starts over
//	collector        deletes manifest 7 ── reads pins ── deletes blobs
//
// A restore moves blobs the other way, from a pin into a manifest. It reserves them ([shard.Shard.Reserve]), looks
// whether its snapshot is still there, commits, and ends the reservations. A collector has to delete only what it found
// unneeded twice, and to read each time reservations, then pins, then manifests: whoever misses the pin the first time
// sees the reservation or the manifest the second time.
func Pins(ctx context.Context, store remotestore.Store) iter.Seq2[Pin, error] {
	return pinsExcept(ctx, store, "")
}

// pinsExcept leaves one snapshot out.
func pinsExcept(ctx context.Context, store remotestore.Store, except string) iter.Seq2[Pin, error] {
	return func(yield func(Pin, error) bool) {
		listed := map[string]bool{} // since the last document
		for o, err := range store.List(ctx, root, "") {
			if err != nil {
				yield(Pin{}, fmt.Errorf("list snapshots: %w", err))
				return
			}
			at, err := parseKey(o.Key)
			if err == nil && at.name == except {
				continue
			}
			listed[o.Key] = true
			var m shard.Manifest
			switch {
			case err != nil:
			case at.kind == documentName: // its key comes behind those of its parts
				err = checkParts(ctx, store, at.name, listed)
				clear(listed)
			case at.kind == partsDir:
				m, _, err = readPart(ctx, store, o.Key)
				if err == nil && slug(m.Shard) != at.slug {
					err = fmt.Errorf("%s: %w: it is a manifest of shard %s", o.Key, shard.ErrCorrupt, m.Shard)
				}
				if errors.Is(err, shard.ErrNotFound) { // deleted since it was listed
					err = nil
				}
			}
			if err != nil {
				yield(Pin{}, err)
				return
			}
			for _, s := range m.Segments {
				if !yield(Pin{m.Shard, m.Generation, s.Blob}, nil) {
					return
				}
			}
		}
	}
}

// checkParts returns an error when a complete snapshot names a part that is not there: nobody knows then what it pins.
func checkParts(ctx context.Context, store remotestore.Store, name string, listed map[string]bool) error {
	d, err := read(ctx, store, documentKey(name), name)
	if errors.Is(err, shard.ErrNotFound) { // deleted since it was listed, so its parts do not matter
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range d.Shards {
		if key := partKey(name, p.Shard, p.Part); !listed[key] {
			return fmt.Errorf("%s: %w: snapshot %s needs it", key, shard.ErrNotFound, name)
		}
	}
	return nil
}

// readPart returns a manifest of a snapshot and the hash of its stored form. The blobs of a part in a repository are there.
func readPart(ctx context.Context, store remotestore.Store, key string) (m shard.Manifest, sum string, err error) {
	body, err := get(ctx, store, key)
	if err != nil {
		return shard.Manifest{}, "", err
	}
	if m, err = shard.Decode(body); err != nil {
		return shard.Manifest{}, "", fmt.Errorf("%s: %w", key, err)
	}
	return m, checksum(body), nil
}

// readPartOf returns the manifest that a document names; its hash must be the one written there.
func readPartOf(ctx context.Context, store remotestore.Store, name string, p Part) (shard.Manifest, error) {
	key := partKey(name, p.Shard, p.Part)
	m, sum, err := readPart(ctx, store, key)
	switch {
	case err != nil:
		return shard.Manifest{}, err
	case m.Shard != p.Shard || m.Generation != p.Generation:
		return shard.Manifest{}, fmt.Errorf("%s: %w: it is generation %d of shard %s, not %d of %s",
			key, shard.ErrCorrupt, m.Generation, m.Shard, p.Generation, p.Shard)
	case sum != p.SHA256:
		return shard.Manifest{}, fmt.Errorf("%s: %w: its SHA-256 is %s, snapshot %s was made with %s", key, shard.ErrCorrupt, sum, name, p.SHA256)
	}
	return m, nil
}

// writePart keeps a manifest in a snapshot and returns the hash of its stored form. It may be repeated.
func writePart(ctx context.Context, store remotestore.Store, name string, part int64, m shard.Manifest) (sum string, err error) {
	body, err := m.Encode()
	if err != nil {
		return "", err
	}
	return checksum(body), create(ctx, store, partKey(name, m.Shard, part), body)
}
