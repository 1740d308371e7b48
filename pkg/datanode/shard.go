package datanode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Shard is a shard that a node writes and searches; see [Node.Create]. It is safe for concurrent use.
type Shard struct {
	node   *Node
	name   string
	writer shard.Writer // of this opening
	store  *shard.Shard
	log    *slog.Logger
	meter  remotestore.Meter // bytes of everything but merges

	line      line
	merges    merges
	counts    counts
	dirty     chan struct{} // there is a generation that cannot be searched yet
	look      chan struct{} // the store may have a generation that is not known here
	replan    chan struct{} // segments or merges have changed
	closing   chan struct{}
	running   sync.WaitGroup // what Run started for it
	searchers sync.WaitGroup // searches on a view

	advancing   sync.Mutex // held while a generation is opened
	swapping    sync.Mutex // held while a view is opened
	remembering sync.Mutex // held while the merges that are offline are written down

	mu        sync.Mutex
	newest    *base // nil once closed
	mapping   *shard.Mapping
	checked   uint64        // the generation up to which the writers are known
	held      hold          // writes wait
	successor string        // who writes the shard since; empty: we do
	view      *view         // nil once closed
	changed   chan struct{} // closed and replaced when newest or view change
	closed    bool
	started   bool // by Run
}

// Settings are what a shard is created with.
type Settings struct {
	// Mapping is a bleve index mapping. Empty: that of the shard, or shard.DefaultMapping for a new one.
	Mapping json.RawMessage
}

// openShard opens a shard that is in the store, and takes over writing.
func (n *Node) openShard(ctx context.Context, s *shard.Shard) (*Shard, error) {
	sh := &Shard{
		node: n, name: s.Name(), store: s, log: n.cfg.Log.With("shard", s.Name()),
		writer: shard.Writer{Node: n.writerName()},
		line:   line{maxBytes: n.cfg.Limits.PendingBytes, groupBytes: n.cfg.Limits.GroupBytes},
		dirty:  make(chan struct{}, 1), look: make(chan struct{}, 1), replan: make(chan struct{}, 1),
		closing: make(chan struct{}), changed: make(chan struct{}),
	}
	sh.merges.init(sh)
	m, err := sh.takeOver(ctx)
	if err == nil {
		err = sh.advance(ctx, m)
	}
	if err == nil {
		_, err = sh.Refresh(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open shard %s: %w", sh.name, err), sh.close())
	}
	if n.cfg.Queue != nil {
		if err := sh.recall(m); err != nil {
			sh.log.Warn("merges that were offline before are not known: they may be planned twice", "error", err)
		}
	}
	poke(sh.replan)
	return sh, nil
}

// Name returns the shard's name.
func (sh *Shard) Name() string { return sh.name }

// Mapping returns the shard's index mapping.
func (sh *Shard) Mapping() (json.RawMessage, error) {
	b, err := sh.acquire()
	if err != nil {
		return nil, err
	}
	defer sh.release(b.uses)
	return b.manifest.Mapping, nil
}

// takeOver commits a generation that changes nothing but whose writer is this opening. From then on every other data
// node that has the shard open is refused, see stillOurs.
func (sh *Shard) takeOver(ctx context.Context) (shard.Manifest, error) {
	m, err := sh.store.Commit(sh.metered(ctx), func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Writer: sh.signed()})
	})
	if err != nil {
		return m, fmt.Errorf("take over writing: %w", err)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.checked = m.Generation
	return m, nil
}

func (sh *Shard) signed() shard.Writer {
	w := sh.writer
	w.At = time.Now().UTC()
	return w
}

// stillOurs returns ErrNotWriter if another data node has opened the shard since. Every generation since the last look is
// looked at, because mergers commit in between; one that is collected already is a day old, and tells that this
// node was away for so long that another may have come.
func (sh *Shard) stillOurs(ctx context.Context, cur shard.Manifest) error {
	sh.mu.Lock()
	checked, successor := sh.checked, sh.successor
	sh.mu.Unlock()
	for g := checked + 1; g <= cur.Generation && successor == ""; g++ {
		m := cur
		if g != cur.Generation {
			var err error
			m, err = sh.store.At(ctx, g)
			if errors.Is(err, shard.ErrNotFound) {
				m.Writer = shard.Writer{Node: "unknown: generation " + fmt.Sprint(g) + " is collected"}
			} else if err != nil {
				return err
			}
		}
		if m.Writer.Task == "" && m.Writer.Node != sh.writer.Node {
			successor = m.Writer.Node
		}
		sh.mu.Lock()
		sh.noteHold(m)
		sh.mu.Unlock()
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.checked = max(sh.checked, cur.Generation)
	if successor == "" {
		return nil
	}
	if sh.successor == "" {
		sh.successor = successor
		sh.log.Error("another data node writes this shard now: writes are refused here", "writer", successor, "generation", cur.Generation)
	}
	return sh.notWriter()
}

// notWriter is why writes are refused; the lock is held.
func (sh *Shard) notWriter() error {
	return fmt.Errorf("%w: %s opened shard %s after %s did; stop one of them, then create the shard anew here to take it back",
		ErrNotWriter, sh.successor, sh.name, sh.writer.Node)
}

// advance makes m the newest generation, unless a newer one is known. It fetches what is missing.
func (sh *Shard) advance(ctx context.Context, m shard.Manifest) error {
	sh.advancing.Lock()
	defer sh.advancing.Unlock()
	sh.mu.Lock()
	old, closed := sh.newest, sh.closed
	sh.mu.Unlock()
	if closed {
		return fmt.Errorf("shard %s: %w", sh.name, ErrClosed)
	}
	if old != nil && old.manifest.Generation >= m.Generation {
		return nil
	}
	mapping, err := sh.mappingOf(old, m)
	if err != nil {
		return err
	}
	next, err := openBase(sh.metered(ctx), sh.node.cache, sh.store, m, old) // only here old is replaced, so it is open
	if err != nil {
		return err
	}
	sh.mu.Lock()
	if sh.closed {
		sh.mu.Unlock()
		return errors.Join(fmt.Errorf("shard %s: %w", sh.name, ErrClosed), next.uses.release())
	}
	sh.newest, sh.mapping = next, mapping
	sh.announce()
	sh.mu.Unlock()
	if old != nil {
		sh.release(old.uses)
	}
	poke(sh.dirty)
	poke(sh.replan)
	return nil
}

func (sh *Shard) mappingOf(old *base, m shard.Manifest) (*shard.Mapping, error) {
	if old != nil && bytes.Equal(old.manifest.Mapping, m.Mapping) {
		return sh.mapping, nil
	}
	return shard.ParseMapping(m.Mapping)
}

func (sh *Shard) mappingNow() *shard.Mapping {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.mapping
}

// acquire returns the newest generation, held.
func (sh *Shard) acquire() (*base, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.newest == nil || !sh.newest.uses.take() {
		return nil, fmt.Errorf("shard %s: %w", sh.name, ErrClosed)
	}
	return sh.newest, nil
}

// release lets go of a generation. That its files cannot be closed is nobody's failure, but must be seen.
func (sh *Shard) release(u *uses) {
	if err := u.release(); err != nil {
		sh.log.Warn("generation not closed cleanly", "error", err)
	}
}

// announce wakes who waits for a change; the lock is held.
func (sh *Shard) announce() {
	close(sh.changed)
	sh.changed = make(chan struct{})
}

// await waits until met, which is called with the lock held and says what it waits for by returning false.
func (sh *Shard) await(ctx context.Context, met func() bool) error {
	for {
		sh.mu.Lock()
		ok, closed, changed := met(), sh.closed, sh.changed
		sh.mu.Unlock()
		switch {
		case ok:
			return nil
		case closed:
			return fmt.Errorf("shard %s: %w", sh.name, ErrClosed)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

func (sh *Shard) metered(ctx context.Context) context.Context {
	return remotestore.WithMeter(ctx, &sh.meter)
}

// close ends what Run does for the shard and waits for it, then for its searches.
func (sh *Shard) close() error {
	sh.mu.Lock()
	if sh.closed {
		sh.mu.Unlock()
		return nil
	}
	sh.closed = true
	newest, view := sh.newest, sh.view
	sh.newest, sh.view = nil, nil
	close(sh.closing)
	sh.announce()
	sh.mu.Unlock()
	sh.running.Wait()
	sh.searchers.Wait()
	var errs []error
	if view != nil {
		errs = append(errs, view.uses.release())
	}
	if newest != nil {
		errs = append(errs, newest.uses.release())
	}
	return errors.Join(errs...)
}

// poke wakes a loop; one wake-up stands for many.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// counts are what a shard has done; see Stats.
type counts struct {
	bulks, documents, deletes, commits, conflicts, writeErrors, busy atomic.Int64
	searches, searchErrors, searching                                atomic.Int64
	writing, searched                                                latency
}
