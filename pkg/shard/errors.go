package shard

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned for a shard, a generation or a blob that is not in the store. The message names it.
	ErrNotFound = errors.New("not in the store")

	// ErrExists is returned by Create for a shard that is there already.
	ErrExists = errors.New("shard exists")

	// ErrCorrupt is returned for an object that is cut, changed or was never what it should be. The message names it.
	ErrCorrupt = errors.New("corrupt object")

	// ErrFormat is returned for a manifest or segment of a format that this build cannot read. The message names it
	// and says which side is newer.
	ErrFormat = errors.New("unsupported format")

	// ErrNoEffect is a success without effect: nothing was committed, and nothing needs to be. ErrApplied and
	// ErrInputsGone tell why.
	ErrNoEffect = errors.New("nothing to commit")

	// ErrApplied says that the change of this task, or this very segment, is in the shard already.
	ErrApplied = fmt.Errorf("%w: already applied", ErrNoEffect)

	// ErrInputsGone says that a segment which was to be replaced is not there any more, or not as it was. Another
	// merge has done the work, or a restore has taken it away.
	ErrInputsGone = fmt.Errorf("%w: inputs are gone", ErrNoEffect)

	// ErrStale is returned when a newer claim of the same task has committed.
	ErrStale = errors.New("allocation id is older than the one that committed")

	// ErrDocument is returned for a document that cannot be indexed. The message names it.
	ErrDocument = errors.New("bad document")
)
