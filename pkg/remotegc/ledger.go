package remotegc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// errOvertaken says that another collector was first: what this one was about to do is not to be done.
var errOvertaken = errors.New("another collector was first")

const ledgerFormat = 1

// ledger is what a run writes down for the next one. Runs are counted, and each takes its number by a create-only
// write, as a commit takes a generation.
type ledger struct {
	Format int    `json:"format"`
	Shard  string `json:"shard"`
	Run    uint64 `json:"run"`

	// Newest is the newest generation that the run has seen. What came later has been looked at by no run.
	Newest uint64 `json:"newest"`

	// Candidates are the blobs that nobody needed.
	Candidates []Candidate `json:"candidates"`

	// Nonce tells this run from any other that was to get its number.
	Nonce string `json:"nonce"`

	at time.Time // when it was stored, by the store's clock
}

// Candidate is a blob that waits for its deletion.
type Candidate struct {
	Blob  shard.BlobName `json:"blob"`
	Bytes int64          `json:"bytes"`

	// Since is when the first run found that nobody needs it, by the store's clock. It is empty in the document of that
	// run, whose own date counts.
	Since time.Time `json:"since,omitzero"`
}

// since returns when each candidate was found.
func (l ledger) since() map[shard.BlobName]time.Time {
	found := make(map[shard.BlobName]time.Time, len(l.Candidates))
	for _, c := range l.Candidates {
		found[c.Blob] = c.Since
		if c.Since.IsZero() {
			found[c.Blob] = l.at
		}
	}
	return found
}

// shelf is where the ledgers of a shard are.
type shelf struct {
	store remotestore.Store
	shard string
}

func (s shelf) dir() string           { return s.shard + "/" + shard.GarbageDir }
func (s shelf) key(run uint64) string { return fmt.Sprintf("%s%020d.json", s.dir(), run) }

// last returns the ledger of the last run. One that cannot be read counts as empty: every grace begins anew. One of
// a newer format is an error.
func (s shelf) last(ctx context.Context) (ledger, error) {
	runs, at, err := s.runs(ctx)
	if err != nil || len(runs) == 0 {
		return ledger{}, err
	}
	run := runs[len(runs)-1]
	empty := ledger{Run: run, at: at}
	body, err := s.store.Get(ctx, s.key(run), remotestore.All)
	if errors.Is(err, remotestore.ErrNotFound) {
		return ledger{}, errOvertaken
	}
	if err != nil {
		return ledger{}, fmt.Errorf("read %s: %w", s.key(run), err)
	}
	var l ledger
	if err := json.Unmarshal(body, &l); err != nil {
		return empty, nil //nolint:nilerr // it counts as empty
	}
	if l.Format > ledgerFormat {
		return ledger{}, fmt.Errorf("%s has format %d, this build reads %d: upgrade it", s.key(run), l.Format, ledgerFormat)
	}
	if l.Format != ledgerFormat || l.Shard != s.shard || l.Run != run {
		return empty, nil
	}
	l.at = at
	return l, nil
}

// runs lists the numbers of the ledgers that are there, and tells when the last one was stored.
func (s shelf) runs(ctx context.Context) (runs []uint64, last time.Time, err error) {
	for o, err := range s.store.List(ctx, s.dir(), "") {
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("list runs of the collector: %w", err)
		}
		digits, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, s.dir()), ".json")
		run, err := strconv.ParseUint(digits, 10, 64)
		if ok && err == nil && len(digits) == 20 {
			runs, last = append(runs, run), o.Modified
		}
	}
	return runs, last, nil
}

// take stores the ledger of a run and removes those before it. It returns errOvertaken when another collector has, or
// had, this number.
func (s shelf) take(ctx context.Context, l ledger) error {
	l.Format, l.Shard, l.Nonce = ledgerFormat, s.shard, rand.Text()
	body, err := json.Marshal(l)
	if err != nil {
		return err
	}
	err = s.store.Create(ctx, s.key(l.Run), append(body, '\n'))
	if errors.Is(err, remotestore.ErrExists) {
		return errOvertaken
	}
	if err != nil { // also ErrUnknown: the next run finds out
		return fmt.Errorf("write down what may be deleted: %w", err)
	}
	runs, _, err := s.runs(ctx)
	if err != nil {
		return err
	}
	if len(runs) == 0 || runs[len(runs)-1] != l.Run {
		return errOvertaken // a collector that was frozen: its number was taken and removed long ago
	}
	for _, run := range runs[:len(runs)-1] {
		if err := s.store.Delete(ctx, s.key(run)); err != nil {
			return fmt.Errorf("remove the run before: %w", err)
		}
	}
	return nil
}

// clock asks the store what time it is.
func (s shelf) clock(ctx context.Context) (time.Time, error) {
	key := s.dir() + "clock"
	if err := s.store.Put(ctx, key, nil); err != nil {
		return time.Time{}, fmt.Errorf("ask the store's clock: %w", err)
	}
	for o, err := range s.store.List(ctx, key, "") {
		if err != nil {
			return time.Time{}, fmt.Errorf("ask the store's clock: %w", err)
		}
		return o.Modified, nil
	}
	return time.Time{}, fmt.Errorf("ask the store's clock: %s: %w", key, io.ErrUnexpectedEOF)
}

// says tells whether the ledger, as the last one, says already what another would say.
func (l ledger) says(other ledger) bool {
	return l.Newest == other.Newest && slices.EqualFunc(l.Candidates, other.Candidates, func(a, b Candidate) bool { return a.Blob == b.Blob })
}
