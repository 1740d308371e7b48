package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"time"

	"github.com/blevesearch/bleve/v2/util"
	bolt "go.etcd.io/bbolt"
)

// writeIndex makes a folder that bleve opens as an index of the manifest's segments. The layout is bleve's own
// (scorch/persister.go writes it), not a documented one; a test compares what is read back. It is scratch, so nothing
// is synced.
//
//	index_meta.json           storage and type of the index
//	store/<id, 12 hex>.zap    the segments, hard links
//	store/root.bolt           s / <epoch> / m: segment type, version, time
//	                                      / i: the mapping
//	                                      / <segment id>: p = file name, d = deleted documents (roaring)
//
// Epoch and segment ID are in bleve's ordered encoding, see orderedUvarint.
func writeIndex(dir string, m Manifest, files []*File) error {
	store := filepath.Join(dir, "store")
	if err := os.Mkdir(store, 0o700); err != nil {
		return err
	}
	meta := []byte(`{"storage":"boltdb","index_type":"scorch"}`)
	if err := os.WriteFile(filepath.Join(dir, "index_meta.json"), meta, 0o600); err != nil {
		return err
	}
	for i, seg := range m.Segments {
		if err := os.Link(files[i].Path, filepath.Join(store, segmentFile(seg.ID))); err != nil {
			return err
		}
	}
	db, err := bolt.Open(filepath.Join(store, "root.bolt"), 0o600, &bolt.Options{NoSync: true, NoFreelistSync: true})
	if err != nil {
		return err
	}
	return errors.Join(db.Update(func(tx *bolt.Tx) error { return writeRoot(tx, m) }), db.Close())
}

func segmentFile(id uint64) string { return fmt.Sprintf("%012x.zap", id) }

func writeRoot(tx *bolt.Tx, m Manifest) error {
	snapshots, err := tx.CreateBucketIfNotExists(util.BoltSnapshotsBucket)
	if err != nil {
		return err
	}
	epoch, err := snapshots.CreateBucket(orderedUvarint(m.Generation))
	if err != nil {
		return err
	}
	if err := writeMeta(epoch, m); err != nil {
		return err
	}
	for _, seg := range m.Segments {
		b, err := epoch.CreateBucket(orderedUvarint(seg.ID))
		if err != nil {
			return err
		}
		if err := b.Put(util.BoltPathKey, []byte(segmentFile(seg.ID))); err != nil {
			return err
		}
		deleted, err := seg.Deleted.bytes()
		if err != nil {
			return err
		}
		if len(deleted) == 0 {
			continue
		}
		if err := b.Put(util.BoltDeletedKey, deleted); err != nil {
			return err
		}
	}
	return nil
}

func writeMeta(epoch *bolt.Bucket, m Manifest) error {
	meta, err := epoch.CreateBucket(util.BoltMetaDataKey)
	if err != nil {
		return err
	}
	version := make([]byte, binary.MaxVarintLen32)
	binary.BigEndian.PutUint32(version, SegmentVersion)
	at, err := time.Now().MarshalText()
	if err != nil {
		return err
	}
	internal, err := epoch.CreateBucket(util.BoltInternalKey)
	if err != nil {
		return err
	}
	return errors.Join(
		meta.Put(util.BoltMetaDataSegmentTypeKey, []byte(SegmentType)),
		meta.Put(util.BoltMetaDataSegmentVersionKey, version),
		meta.Put(util.BoltMetaDataTimeStamp, at),
		internal.Put(util.MappingInternalKey, m.Mapping),
	)
}

// orderedUvarint encodes a number so that byte order is numeric order, as bleve does (scorch/int.go): up to 109 one
// byte from 0x88 on; above, a byte that tells the length, then the bytes, the most significant first.
func orderedUvarint(v uint64) []byte {
	const zero, small, tagZero = 0x88, 109, 0xf5
	if v <= small {
		return []byte{zero + byte(v)}
	}
	n := (bits.Len64(v) + 7) / 8
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], v)
	return append([]byte{tagZero + byte(n)}, wide[8-n:]...)
}
