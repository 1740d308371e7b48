package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Format is the version of the document format that this build writes. It reads no newer one.
const Format = 1

// Document says what a snapshot is made of. It is written twice: when the snapshot begins, with the names of the shards
// alone, and whole when it is complete.
//
// In the store it is one JSON object on one line, the fields in this order, "checksum" as the last one, and a line feed.
// The checksum is the SHA-256, in hex, of all bytes before `,"checksum":`. Unknown fields are refused.
type Document struct {
	Format   int    `json:"format"`
	Snapshot string `json:"snapshot"`

	// Repository tells that the blobs were copied: the document is in the repository.
	Repository bool `json:"repository,omitempty"`

	// Task is the id of the task that makes it; it also tells a snapshot from a later one of the same name.
	Task    string    `json:"task"`
	BegunAt time.Time `json:"begun_at"`
	EndedAt time.Time `json:"ended_at,omitzero"`
	Shards  []Part    `json:"shards"`
}

// Part is one shard in a snapshot. While the snapshot is not complete only Shard is known.
type Part struct {
	Shard      string `json:"shard"`
	Part       int64  `json:"part,omitempty"` // names the manifest
	SHA256     string `json:"sha256,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
	Segments   int    `json:"segments,omitempty"`
	Docs       uint64 `json:"docs,omitempty"`   // that can be found
	Bytes      int64  `json:"bytes,omitempty"`  // of all segments
	Copied     int64  `json:"copied,omitempty"` // those that no earlier snapshot had brought to the repository
}

// Complete tells whether it can be restored.
func (d Document) Complete() bool { return !d.EndedAt.IsZero() }

// Part returns a shard of the snapshot.
func (d Document) Part(shard string) (Part, bool) {
	i := slices.IndexFunc(d.Shards, func(p Part) bool { return p.Shard == shard })
	if i < 0 {
		return Part{}, false
	}
	return d.Shards[i], true
}

const checksumField = `,"checksum":"`

func (d Document) encode() ([]byte, error) {
	d.Format = Format
	body, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot %s: %w", d.Snapshot, err)
	}
	open := body[:len(body)-1]
	return fmt.Appendf(open, "%s%s\"}\n", checksumField, checksum(open)), nil
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// decode reads a document from its stored form.
func decode(stored []byte) (Document, error) {
	at := bytes.LastIndex(stored, []byte(checksumField))
	body, sum, closed := stored, []byte(nil), false
	if at >= 0 {
		sum, closed = bytes.CutSuffix(stored[at+len(checksumField):], []byte("\"}\n"))
		body = append(bytes.Clone(stored[:at]), '}')
	}
	var head struct {
		Format int `json:"format"`
	}
	readable := json.Unmarshal(body, &head) == nil
	switch {
	case readable && head.Format > Format:
		return Document{}, fmt.Errorf("%w: it has format %d, this build reads up to %d: upgrade this one", shard.ErrFormat, head.Format, Format)
	case !closed:
		return Document{}, fmt.Errorf("%w: it is cut or was never a snapshot: no checksum at the end of %d bytes", shard.ErrCorrupt, len(stored))
	case string(sum) != checksum(body[:len(body)-1]):
		return Document{}, fmt.Errorf("%w: its checksum does not match its content", shard.ErrCorrupt)
	case !readable || head.Format < 1:
		return Document{}, fmt.Errorf("%w: it names no format", shard.ErrCorrupt)
	}
	var d Document
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Document{}, fmt.Errorf("%w: %w", shard.ErrCorrupt, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Document{}, fmt.Errorf("%w: there is more after its end", shard.ErrCorrupt)
	}
	return d, nil
}

// read returns the document at a key; it must be that of the snapshot called name.
func read(ctx context.Context, store remotestore.Store, key, name string) (Document, error) {
	body, err := get(ctx, store, key)
	if err != nil {
		return Document{}, err
	}
	d, err := decode(body)
	if err != nil {
		return Document{}, fmt.Errorf("%s: %w", key, err)
	}
	if d.Snapshot != name || d.Complete() != (key == documentKey(name)) {
		return Document{}, fmt.Errorf("%s: %w: it belongs to snapshot %q, complete: %t", key, shard.ErrCorrupt, d.Snapshot, d.Complete())
	}
	return d, nil
}

func get(ctx context.Context, store remotestore.Store, key string) ([]byte, error) {
	body, err := store.Get(ctx, key, remotestore.All)
	if errors.Is(err, remotestore.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", key, shard.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return body, nil
}

// create writes an object once; one that is there is remotestore.ErrExists.
func create(ctx context.Context, store remotestore.Store, key string, body []byte) error {
	if err := store.Create(ctx, key, body); err != nil {
		return fmt.Errorf("create %s: %w", key, err)
	}
	return nil
}

// Get returns a snapshot of a store or a repository, complete or not. It is shard.ErrNotFound if there is none.
func Get(ctx context.Context, store remotestore.Store, name string) (Document, error) {
	d, err := read(ctx, store, documentKey(name), name)
	if errors.Is(err, shard.ErrNotFound) {
		d, err = read(ctx, store, begunKey(name), name)
	}
	if errors.Is(err, shard.ErrNotFound) {
		return Document{}, fmt.Errorf("snapshot %s: %w", name, shard.ErrNotFound)
	}
	return d, err
}

// Listed is a snapshot in a listing.
type Listed struct {
	Document

	// Err is why its document cannot be read; shard.ErrNotFound when only leftovers of one that was deleted are there;
	// ErrCopying for the pins of a copy. The document has nothing but the name then.
	Err error
}

// List returns the snapshots of a store or a repository, by name, complete or not.
func List(ctx context.Context, store remotestore.Store) ([]Listed, error) {
	var names []string
	for o, err := range store.List(ctx, root, "") {
		if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(o.Key, root), "/")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	all := make([]Listed, 0, len(names))
	for _, name := range names {
		d, err := Get(ctx, store, name)
		if of, isCopy := strings.CutSuffix(name, copySuffix); isCopy && errors.Is(err, shard.ErrNotFound) {
			err = fmt.Errorf("%s: %w", of, ErrCopying)
		}
		switch {
		case err == nil:
		case errors.Is(err, shard.ErrNotFound), errors.Is(err, shard.ErrCorrupt), errors.Is(err, shard.ErrFormat), errors.Is(err, ErrCopying):
			d = Document{Snapshot: name}
		default: // the store's, not the snapshot's
			return nil, err
		}
		all = append(all, Listed{d, err})
	}
	return all, nil
}
