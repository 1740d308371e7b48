package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// Blob is a file that is or will be in the store.
type Blob struct {
	Name  BlobName `json:"name"`
	Bytes int64    `json:"bytes"`
}

// NameBlob hashes a local file and gives it a new name. Nothing is sent.
func NameBlob(path string) (Blob, error) {
	sum, size, err := hashFile(path)
	if err != nil {
		return Blob{}, fmt.Errorf("hash %s: %w", path, err)
	}
	return Blob{newBlobName(sum), size}, nil
}

// Upload sends the local file at path as blob. It may be repeated.
func (s *Shard) Upload(ctx context.Context, blob Blob, path string) error {
	if err := blob.Name.Check(); err != nil {
		return err
	}
	if err := s.store.PutFile(ctx, s.blobKey(blob.Name), path); err != nil {
		return fmt.Errorf("upload blob: %w", err)
	}
	return nil
}

// Download fetches the file of a segment to path and compares its hash. What does not match is removed and returned as
// ErrCorrupt; a blob that is not there is ErrNotFound. Most callers want a Cache.
func (s *Shard) Download(ctx context.Context, seg Segment, path string) error {
	if err := seg.Blob.Check(); err != nil {
		return err
	}
	key := s.blobKey(seg.Blob)
	err := s.store.GetFile(ctx, key, path)
	if errors.Is(err, remotestore.ErrNotFound) {
		return fmt.Errorf("blob %s of segment %d: %w", key, seg.ID, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("download segment %d: %w", seg.ID, err)
	}
	if err := verifyFile(path, seg); err != nil {
		return errors.Join(fmt.Errorf("blob %s: %w", key, err), os.Remove(path))
	}
	return nil
}

// verifyBytes of a blob are in memory while it is verified.
const verifyBytes = 4 << 20

// Verify reads a segment's blob and compares it with what the manifest says, as Download does, but keeps nothing.
func (s *Shard) Verify(ctx context.Context, seg Segment) error {
	if err := seg.Blob.Check(); err != nil {
		return err
	}
	key, hash := s.blobKey(seg.Blob), sha256.New()
	size, cut := int64(0), false
	for size < seg.Bytes && !cut {
		want := min(verifyBytes, seg.Bytes-size)
		r := remotestore.Range{Offset: size, Bytes: want}
		if size+want == seg.Bytes {
			r.Bytes++ // it may be longer
		}
		part, err := s.store.Get(ctx, key, r)
		if errors.Is(err, remotestore.ErrNotFound) {
			return fmt.Errorf("blob %s of segment %d: %w", key, seg.ID, ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("verify segment %d: %w", seg.ID, err)
		}
		hash.Write(part)
		size += int64(len(part))
		cut = int64(len(part)) < want
	}
	if err := compare(hex.EncodeToString(hash.Sum(nil)), size, seg); err != nil {
		return fmt.Errorf("blob %s: %w", key, err)
	}
	return nil
}

// ReservationLife is how long a reservation keeps garbage collection from a blob, at least.
const ReservationLife = 7 * 24 * time.Hour

// HasBlob tells whether a blob that was reserved and uploaded may still be committed: it is in the store with its full
// size and was written less than half of ReservationLife ago. From then on it must be made again, because the
// collector may soon take it; the other half is for clocks that differ and for the commit.
func (s *Shard) HasBlob(ctx context.Context, blob Blob) (bool, error) {
	for o, err := range s.store.List(ctx, s.blobKey(blob.Name), "") {
		if err != nil {
			return false, fmt.Errorf("look for blob %s: %w", blob.Name, err)
		}
		return o.Bytes == blob.Bytes && time.Since(o.Modified) < ReservationLife/2, nil
	}
	return false, nil
}

// Reserve keeps garbage collection from a blob that no manifest names yet. It is for blobs that may wait for their
// commit for longer than the collector's grace: call it before Upload, and Unreserve after the commit. A reservation
// whose owner died is the collector's to judge, by its age: see ReservationLife.
func (s *Shard) Reserve(ctx context.Context, blob BlobName, task string) error {
	if err := s.store.Put(ctx, s.pendingKey(blob), []byte(task+"\n")); err != nil {
		return fmt.Errorf("reserve blob: %w", err)
	}
	return nil
}

// ReservedBy returns the task that a blob is reserved for; empty if it is not reserved.
func (s *Shard) ReservedBy(ctx context.Context, blob BlobName) (task string, err error) {
	if err := blob.Check(); err != nil {
		return "", err
	}
	body, err := s.store.Get(ctx, s.pendingKey(blob), remotestore.All)
	if errors.Is(err, remotestore.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read reservation: %w", err)
	}
	return strings.TrimSuffix(string(body), "\n"), nil
}

// Unreserve ends a reservation. It is no error if there is none.
func (s *Shard) Unreserve(ctx context.Context, blob BlobName) error {
	if err := s.store.Delete(ctx, s.pendingKey(blob)); err != nil {
		return fmt.Errorf("end reservation: %w", err)
	}
	return nil
}

// StoredBlob is a blob or a reservation as a listing shows it.
type StoredBlob struct {
	Blob

	At time.Time // when it was written, by the store's clock
}

// Blobs lists what is stored, committed or not. Names that are no blob's are passed over.
func (s *Shard) Blobs(ctx context.Context) iter.Seq2[StoredBlob, error] { return s.list(ctx, blobDir) }

// Reserved lists the reservations, by the names of their blobs.
func (s *Shard) Reserved(ctx context.Context) iter.Seq2[StoredBlob, error] {
	return s.list(ctx, pendingDir)
}

func (s *Shard) list(ctx context.Context, dir string) iter.Seq2[StoredBlob, error] {
	dir = s.name + "/" + dir
	return func(yield func(StoredBlob, error) bool) {
		for o, err := range s.store.List(ctx, dir, "") {
			if err != nil {
				yield(StoredBlob{}, fmt.Errorf("list %s: %w", dir, err))
				return
			}
			name := BlobName(strings.TrimPrefix(o.Key, dir))
			if name.Check() == nil && !yield(StoredBlob{Blob{name, o.Bytes}, o.Modified}, nil) {
				return
			}
		}
	}
}

// StoredGeneration is a manifest as a listing shows it.
type StoredGeneration struct {
	Generation uint64
	At         time.Time // when it was committed, by the store's clock
	Bytes      int64     // of the manifest
}

// Generations lists the manifests after a generation, in order.
func (s *Shard) Generations(ctx context.Context, after uint64) iter.Seq2[StoredGeneration, error] {
	return func(yield func(StoredGeneration, error) bool) {
		start := ""
		if after > 0 {
			start = s.manifestKey(after)
		}
		for o, err := range s.store.List(ctx, s.name+"/"+manifestDir, start) {
			if err != nil {
				yield(StoredGeneration{}, fmt.Errorf("list generations of %s: %w", s.name, err))
				return
			}
			g, ok := s.parseManifestKey(o.Key)
			if ok && !yield(StoredGeneration{g, o.Modified, o.Bytes}, nil) {
				return
			}
		}
	}
}

// DeleteBlob removes a blob from the store. Only a garbage collector that knows every generation, snapshot and
// reservation may call it.
func (s *Shard) DeleteBlob(ctx context.Context, name BlobName) error {
	if err := name.Check(); err != nil {
		return err
	}
	if err := s.store.Delete(ctx, s.blobKey(name)); err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	return nil
}

// DeleteGeneration removes a manifest from the store, never the newest one: that must be passed to prove that it is
// known. Generations are to be deleted from the oldest on, and only when they are a day old at least.
func (s *Shard) DeleteGeneration(ctx context.Context, generation uint64, newest Manifest) error {
	if generation >= newest.Generation {
		return fmt.Errorf("generation %d of %s is the newest known or newer", generation, s.name)
	}
	if err := s.store.Delete(ctx, s.manifestKey(generation)); err != nil {
		return fmt.Errorf("delete generation: %w", err)
	}
	return nil
}

// verifyFile compares a local file with what the manifest says about it.
func verifyFile(path string, seg Segment) error {
	sum, size, err := hashFile(path)
	if err != nil {
		return err
	}
	return compare(sum, size, seg)
}

// compare tells what is wrong with a blob of this hash and size.
func compare(sum string, size int64, seg Segment) error {
	if size != seg.Bytes {
		return fmt.Errorf("%w: it has %d bytes, segment %d has %d", ErrCorrupt, size, seg.ID, seg.Bytes)
	}
	if sum != seg.Blob.SHA256() {
		return fmt.Errorf("%w: its SHA-256 is %s", ErrCorrupt, sum)
	}
	return nil
}

func hashFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
