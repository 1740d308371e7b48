package datanode

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Node writes and searches shards. It is safe for concurrent use.
type Node struct {
	cfg         Config
	incarnation string
	cache       *shard.Cache
	scratch     string // for segments that are being built
	metrics     *metrics
	merger      *task.Definition // runs merges here
	slots       *slots           // held by those that run
	throttle    *throttle        // of what these write
	added       chan struct{}    // there are shards that Run does not know

	opening sync.Mutex      // held while a shard is opened or dropped
	purging map[string]bool // shards that are not served any more, whose purge has not ended

	asking sync.Mutex // held while the fleet is asked for
	asked  fleetAnswer

	mu      sync.Mutex
	offline Offline
	local   LocalMerges
	shards  map[string]*Shard
	closed  bool
}

// Open takes the cache folder. The node serves shards from then on; [Node.Run] makes it follow the store, refresh and
// merge. Close it when Run has returned.
func Open(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open data node: %w", err)
	}
	cfg = cfg.withDefaults()
	n := &Node{
		cfg: cfg, incarnation: rand.Text()[:8], offline: cfg.Offline, local: cfg.Local, shards: map[string]*Shard{}, purging: map[string]bool{},
		scratch: filepath.Join(cfg.Dir, "new"), slots: newSlots(cfg.Local.AtOnce), throttle: newThrottle(cfg.Local.BytesPerSecond), added: make(chan struct{}, 1),
	}
	var err error
	if n.metrics, err = newMetrics(cfg.Meter); err != nil {
		return nil, fmt.Errorf("open data node: %w", err)
	}
	if n.cache, err = shard.OpenCache(filepath.Join(cfg.Dir, "cache"), cfg.CacheBytes); err != nil {
		return nil, fmt.Errorf("open data node: %w", err)
	}
	err = errors.Join(os.RemoveAll(n.scratch), os.MkdirAll(n.scratch, 0o700), os.MkdirAll(n.offeredDir(), 0o700)) // the cache's lock covers both
	if err == nil {
		n.merger, err = newMerger(n)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open data node: %w", err), n.cache.Close())
	}
	return n, nil
}

// Run keeps the shards up to date until ctx ends: merges that run here stop then, those offline go on.
func (n *Node) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	if n.cfg.Queue != nil {
		running.Go(func() { n.listen(ctx) })
	}
	for {
		for _, sh := range n.toStart() {
			running.Go(func() {
				defer sh.running.Done()
				if err := sh.run(ctx); err != nil {
					sh.log.Error("shard is not kept up to date any more", "error", err)
				}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.added:
		}
	}
}

// toStart returns the shards that Run has not started; each counts as running from now on.
func (n *Node) toStart() []*Shard {
	n.mu.Lock()
	defer n.mu.Unlock()
	var start []*Shard
	for _, sh := range n.shards {
		sh.mu.Lock()
		if !sh.started && !sh.closed {
			sh.started = true
			sh.running.Add(1)
			start = append(start, sh)
		}
		sh.mu.Unlock()
	}
	return start
}

// listen hears of the ends of tasks. It goes on when the queue is away: until it is back, the manifest tells.
func (n *Node) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := n.cfg.Queue.Listen(ctx, n.heard)
		if ctx.Err() != nil {
			return
		}
		n.cfg.Log.Warn("completion events are not heard: trying again", "error", err)
		timer := time.NewTimer(n.cfg.Poll)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// heard takes an event as a hint to look: what counts is in the store. So it never fails.
func (n *Node) heard(_ context.Context, e task.Event) error {
	if e.Type == reindex.Type {
		for _, sh := range n.Shards() {
			poke(sh.look)
		}
		return nil
	}
	if e.Type != merge.Type && e.Type != merge.ForceType {
		return nil
	}
	for _, sh := range n.Shards() {
		if sh.merges.heard(e) {
			poke(sh.look)
			poke(sh.replan)
		}
	}
	return nil
}

// Create opens a shard for writing, and makes it first if the store does not have it; created tells which. A shard that
// another data node has open is taken from it. ErrConflict says that it is there with another mapping.
func (n *Node) Create(ctx context.Context, name string, settings Settings) (sh *Shard, created bool, err error) {
	n.opening.Lock()
	defer n.opening.Unlock()
	if sh, err := n.Shard(name); err == nil && sh.writable() {
		return sh, false, sh.sameMapping(settings)
	}
	s, err := shard.Open(n.cfg.Store, name)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(settings.Mapping) > 0 {
		if _, err := shard.ParseMapping(settings.Mapping); err != nil {
			return nil, false, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	_, err = s.Create(ctx, shard.Settings{Mapping: settings.Mapping})
	if created = err == nil; !created && !errors.Is(err, shard.ErrExists) {
		return nil, false, fmt.Errorf("create shard %s: %w", name, err)
	}
	if !created {
		m, err := s.Newest(ctx)
		if err != nil {
			return nil, false, fmt.Errorf("open shard %s: %w", name, err)
		}
		if err := compareMappings(name, settings.Mapping, m.Mapping); err != nil {
			return nil, false, err
		}
	}
	if err := n.remove(name); err != nil { // one that another data node took, and that is taken back
		return nil, false, err
	}
	if sh, err = n.openShard(ctx, s); err != nil {
		return nil, false, err
	}
	return sh, created, n.add(sh)
}

func (n *Node) add(sh *Shard) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.Join(fmt.Errorf("data node: %w", ErrClosed), sh.close())
	}
	n.shards[sh.name] = sh
	poke(n.added)
	return nil
}

func (sh *Shard) writable() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.successor == "" && !sh.closed
}

func (sh *Shard) sameMapping(settings Settings) error {
	is, err := sh.Mapping()
	if err != nil {
		return err
	}
	return compareMappings(sh.name, settings.Mapping, is)
}

// compareMappings returns ErrConflict unless both say the same; not to ask for one is fine.
func compareMappings(name string, want, is json.RawMessage) error {
	if len(want) == 0 {
		return nil
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(want, &a), json.Unmarshal(is, &b)); err != nil {
		return fmt.Errorf("mapping of shard %s: %w", name, err)
	}
	if !reflect.DeepEqual(a, b) {
		return fmt.Errorf("%w: %s", ErrConflict, name)
	}
	return nil
}

// Drop stops serving a shard. With purge its merges are cancelled and its objects are deleted from the store too;
// snapshots that share them are broken then. A purge that has failed may be repeated.
func (n *Node) Drop(ctx context.Context, name string, purge bool) error {
	n.opening.Lock()
	defer n.opening.Unlock()
	sh, err := n.Shard(name)
	if err != nil && (!purge || !n.purging[name]) {
		return err
	}
	if err == nil && purge {
		sh.cancelMerges(ctx)
	}
	if err := n.remove(name); err != nil {
		return err
	}
	if !purge {
		return nil
	}
	n.purging[name] = true
	// Not everything below the name: a shard "books/0" may be there.
	for _, part := range []string{"/manifest/", "/hint", "/blob/", "/pending/", "/gc/"} {
		if err := n.purge(ctx, name+part); err != nil {
			return fmt.Errorf("purge shard %s: %w", name, err)
		}
	}
	delete(n.purging, name)
	return nil
}

func (n *Node) purge(ctx context.Context, prefix string) error {
	for o, err := range n.cfg.Store.List(ctx, prefix, "") {
		if err != nil {
			return err
		}
		if err := n.cfg.Store.Delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}

// remove closes a shard; it is no error if there is none.
func (n *Node) remove(name string) error {
	n.mu.Lock()
	sh := n.shards[name]
	delete(n.shards, name)
	n.mu.Unlock()
	if sh == nil {
		return nil
	}
	return sh.close()
}

// Shard returns a shard that the node serves, or ErrNoShard.
func (n *Node) Shard(name string) (*Shard, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sh := n.shards[name]
	if sh == nil {
		return nil, fmt.Errorf("%w: %.80q", ErrNoShard, name)
	}
	return sh, nil
}

// Shards returns the shards by name.
func (n *Node) Shards() []*Shard {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*Shard, 0, len(n.shards))
	for _, sh := range n.shards {
		all = append(all, sh)
	}
	slices.SortFunc(all, func(a, b *Shard) int { return cmp.Compare(a.name, b.name) })
	return all
}

// Name returns the name of the node.
func (n *Node) Name() string { return n.cfg.Name }

// Offline returns what decides where merges run.
func (n *Node) Offline() Offline {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.offline
}

// SetOffline changes it at once, in this process alone. Merges that wait for an offline node come back when merges are
// switched off; those that run are left to end.
func (n *Node) SetOffline(o Offline) error {
	if err := o.Validate(); err != nil {
		return err
	}
	n.mu.Lock()
	n.offline = o.withDefaults()
	n.mu.Unlock()
	for _, sh := range n.Shards() {
		poke(sh.replan)
	}
	return nil
}

// LocalMerges returns what merges that run here may use.
func (n *Node) LocalMerges() LocalMerges {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.local
}

// SetLocalMerges changes it at once, in this process alone. Merges that run are left to end, at the new rate.
func (n *Node) SetLocalMerges(l LocalMerges) error {
	if err := l.Validate(); err != nil {
		return err
	}
	orDefault(&l.AtOnce, 1)
	n.mu.Lock()
	n.local = l
	n.mu.Unlock()
	n.slots.resize(l.AtOnce)
	n.throttle.set(l.BytesPerSecond)
	for _, sh := range n.Shards() {
		poke(sh.replan)
	}
	return nil
}

// fleetAnswer is what was last heard of the fleet.
type fleetAnswer struct {
	fleet Fleet
	err   error
	at    time.Time
}

// fleet asks who could run merges. An answer counts for as long as merges are left alone when nothing happens: many
// shards ask, after every write.
func (n *Node) fleet(ctx context.Context) (Fleet, error) {
	n.asking.Lock()
	defer n.asking.Unlock()
	if time.Since(n.asked.at) < n.cfg.Poll/pollsOffline {
		return n.asked.fleet, n.asked.err
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	fleet, err := n.cfg.Queue.Fleet(asking, merge.Type)
	if ctx.Err() != nil {
		return fleet, err // no answer of the queue's
	}
	n.asked = fleetAnswer{fleet, err, time.Now()}
	return fleet, err
}

func (n *Node) writerName() string { return n.cfg.Name + "/" + n.incarnation }

// Close waits for searches that run, and lets go of the cache folder. Acknowledged writes are in the store already.
func (n *Node) Close() error {
	n.opening.Lock()
	defer n.opening.Unlock()
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	var errs []error
	for _, sh := range n.Shards() {
		errs = append(errs, n.remove(sh.name))
	}
	return errors.Join(append(errs, n.cache.Close())...)
}
