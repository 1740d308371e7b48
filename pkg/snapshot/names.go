package snapshot

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

const (
	root         = "_snapshot/" // no shard's name starts with an underscore
	begunName    = "begun.json"
	documentName = "snapshot.json"
	partsDir     = "part/"

	// copySuffix marks the snapshots in the store that pin what is being copied. No name that is given has an "@".
	copySuffix = "@copy"
)

const maxNameBytes = 64

// CheckName tells what is wrong with the name of a snapshot: 1 to 64 letters, digits and ". _ -", the first of them no
// dot.
func CheckName(name string) error {
	if name == "" || len(name) > maxNameBytes || name[0] == '.' || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return fmt.Errorf("snapshot name %.80q: use 1 to %d letters, digits and . _ -, and no dot in front", name, maxNameBytes)
	}
	return nil
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
}

func begunKey(name string) string    { return root + name + "/" + begunName }
func documentKey(name string) string { return root + name + "/" + documentName }

// partKey names a manifest. The part is the allocation id of the run that wrote it: so no run, however late, changes what
// another one wrote.
func partKey(name, shard string, part int64) string {
	return fmt.Sprintf("%s%s/%s%s-%020d.json", root, name, partsDir, slug(shard), part)
}

// slug returns a name for a shard that fits into a key and a task's id: what people recognize of it, and a hash.
func slug(shard string) string {
	readable := strings.Map(func(r rune) rune {
		if plain(r) {
			return r
		}
		return '-'
	}, shard[:min(len(shard), maxReadableBytes)])
	return strings.TrimLeft(readable, ".") + "-" + checksum([]byte(shard))[:hashDigits]
}

const (
	maxReadableBytes = 48
	hashDigits       = 16
)

// located is a key below root, taken apart.
type located struct {
	name string // of the snapshot
	kind string // begunName, documentName or partsDir
	slug string // of a part's shard
	part int64
}

// parseKey takes apart a key below root. What this build does not know may pin what it cannot see, so it is an error.
func parseKey(key string) (located, error) {
	rest, found := strings.CutPrefix(key, root)
	name, rest, below := strings.Cut(rest, "/")
	if !found || !below {
		return located{}, unknownKey(key)
	}
	switch rest {
	case begunName, documentName:
		return located{name: name, kind: rest}, nil
	}
	rest, isPart := strings.CutPrefix(rest, partsDir)
	rest, json := strings.CutSuffix(rest, ".json")
	at := strings.LastIndexByte(rest, '-')
	if !isPart || !json || at < 0 || len(rest)-at != 1+20 {
		return located{}, unknownKey(key)
	}
	part, err := strconv.ParseInt(rest[at+1:], 10, 64)
	if err != nil {
		return located{}, unknownKey(key)
	}
	return located{name, partsDir, rest[:at], part}, nil
}

func unknownKey(key string) error {
	return fmt.Errorf("%s: %w: nothing of this name belongs to a snapshot that this build knows", key, shard.ErrFormat)
}

var (
	// ErrExists says that another snapshot has the name.
	ErrExists = errors.New("snapshot exists")

	// ErrIncomplete says that a snapshot was begun and has not ended: nothing can be restored from it.
	ErrIncomplete = errors.New("snapshot is not complete")

	// ErrNewer says that a restore would lose what was written since the snapshot.
	ErrNewer = errors.New("the shard has moved on since the snapshot")

	// ErrCopying says that a snapshot in the store only pins what is being copied. It goes with the one in the repository.
	ErrCopying = errors.New("its copy to the repository has not ended")

	// ErrNoRepository says that no second store is configured.
	ErrNoRepository = errors.New("no repository is configured: set repository.url")
)
