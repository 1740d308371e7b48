package shard

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

const (
	manifestDir = "manifest/"
	blobDir     = "blob/"
	pendingDir  = "pending/"
	hintName    = "hint"

	// apart is how names start that belong to no shard but to what keeps something about many, such as snapshots.
	apart = "_"

	// GarbageDir is the folder in a shard that belongs to its garbage collector.
	GarbageDir = "gc/"
)

// CheckName tells what is wrong with the name of a shard. A name is a key of the store, such as "books/0", that does not
// start with an underscore and none of whose parts is a name that the layout uses.
func CheckName(name string) error {
	if strings.HasPrefix(name, apart) {
		return fmt.Errorf("shard name %q: names that start with %s belong to no shard", name, apart)
	}
	return checkLayout(name)
}

// checkLayout tells what is wrong with the name of what has the layout of a shard.
func checkLayout(name string) error {
	if err := remotestore.CheckKey(name); err != nil {
		return fmt.Errorf("shard name: %w", err)
	}
	if len(name) > maxNameBytes {
		return fmt.Errorf("shard name %.40q…: it has %d bytes, allowed are %d", name, len(name), maxNameBytes)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch part + "/" {
		case manifestDir, blobDir, pendingDir, GarbageDir, hintName + "/":
			return fmt.Errorf("shard name %q: %q is a name inside of shards", name, part)
		}
	}
	return nil
}

const maxNameBytes = 500

// manifestKey has 20 digits, so that byte order is numeric order.
func (s *Shard) manifestKey(generation uint64) string {
	return fmt.Sprintf("%s/%s%020d.json", s.name, manifestDir, generation)
}

func (s *Shard) blobKey(name BlobName) string    { return s.name + "/" + blobDir + string(name) }
func (s *Shard) pendingKey(name BlobName) string { return s.name + "/" + pendingDir + string(name) }
func (s *Shard) hintKey() string                 { return s.name + "/" + hintName }

// parseManifestKey returns the generation of a key below the manifest folder; ok is false for what does not belong
// there.
func (s *Shard) parseManifestKey(key string) (generation uint64, ok bool) {
	digits, found := strings.CutPrefix(key, s.name+"/"+manifestDir)
	digits, json := strings.CutSuffix(digits, ".json")
	if !found || !json || len(digits) != 20 {
		return 0, false
	}
	generation, err := strconv.ParseUint(digits, 10, 64)
	return generation, err == nil
}

// BlobName names a segment file: the SHA-256 of its content in hex, a dash, and a UUID. The UUID makes the name new
// even if the content is not: a blob that is about to be collected as garbage is never used again.
type BlobName string

const blobNameBytes = 64 + 1 + 36

// newBlobName returns a new name for content with this SHA-256.
func newBlobName(sum string) BlobName {
	return BlobName(sum + "-" + uuid.NewString())
}

// SHA256 returns the hash of the content, in hex.
func (b BlobName) SHA256() string { return string(b[:min(64, len(b))]) }

// Check tells what is wrong with a name. It keeps names that come from elsewhere from reaching anything but blobs.
func (b BlobName) Check() error {
	bad := fmt.Errorf("blob name %.120q is not <sha256>-<uuid>", string(b))
	if len(b) != blobNameBytes || b[64] != '-' || strings.ToLower(string(b)) != string(b) {
		return bad
	}
	_, hexErr := hex.DecodeString(string(b[:64]))
	_, uuidErr := uuid.Parse(string(b[65:]))
	if errors.Join(hexErr, uuidErr) != nil {
		return bad
	}
	return nil
}
