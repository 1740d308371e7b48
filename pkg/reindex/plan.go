package reindex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Folder holds what reindexes keep in the store, each in a folder that is named by its task ID.
const Folder = "_reindex/"

// keepEvery is how old a reservation may become before it is made anew.
const keepEvery = 30 * time.Minute

// desk is what a reindex keeps in the store, and the two shards that it works on. Plan and pins are created, never
// overwritten: whoever comes later, or again, works on the same.
type desk struct {
	store          remotestore.Store
	id             string
	plan           Params // with everything resolved
	source, target *shard.Shard
}

func (d *desk) planKey() string { return Folder + d.id + "/plan.json" }
func (d *desk) pinKey(round int) string {
	return fmt.Sprintf("%s%s/source/%04d.json", Folder, d.id, round)
}

// openDesk reads the plan of a reindex; ErrNotFound if there is none.
func openDesk(ctx context.Context, store remotestore.Store, id string) (*desk, error) {
	d := &desk{store: store, id: id}
	body, err := store.Get(ctx, d.planKey(), remotestore.All)
	if errors.Is(err, remotestore.ErrNotFound) {
		return nil, fmt.Errorf("plan %s: %w", d.planKey(), shard.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	if err := json.Unmarshal(body, &d.plan); err != nil {
		return nil, fmt.Errorf("plan %s: %w: %w", d.planKey(), shard.ErrCorrupt, err)
	}
	return d, d.openShards()
}

func (d *desk) openShards() (err error) {
	if d.source, err = shard.Open(d.store, d.plan.Source); err != nil {
		return err
	}
	d.target, err = shard.Open(d.store, d.plan.Target)
	return err
}

// begin writes the plan, unless an earlier run has.
func begin(ctx context.Context, store remotestore.Store, id string, p Params) (*desk, error) {
	d, err := openDesk(ctx, store, id)
	if err == nil {
		return d, d.sameAs(p)
	}
	if !errors.Is(err, shard.ErrNotFound) {
		return nil, err
	}
	d = &desk{store: store, id: id, plan: p.withDefaults()}
	if err := d.openShards(); err != nil {
		return nil, task.Permanent(err)
	}
	if d.plan.Mapping, err = d.mapping(ctx); err != nil {
		return nil, err
	}
	body, err := json.Marshal(d.plan)
	if err != nil {
		return nil, err
	}
	err = store.Create(ctx, d.planKey(), body)
	if errors.Is(err, remotestore.ErrExists) {
		return begin(ctx, store, id, p)
	}
	return d, err
}

// sameAs refuses parameters that are not those of the plan: an ID that was used before.
func (d *desk) sameAs(p Params) error {
	p, is := p.withDefaults(), d.plan
	if len(p.Mapping) == 0 {
		p.Mapping, is.Mapping = nil, nil
	}
	if same, err := sameJSON(p, is); err != nil || !same {
		return task.Permanent(errors.Join(fmt.Errorf("task %s has begun with other parameters: use another ID", d.id), err))
	}
	return nil
}

// mapping is what the target gets.
func (d *desk) mapping(ctx context.Context) (json.RawMessage, error) {
	if d.plan.inPlace() && len(d.plan.Mapping) > 0 {
		return d.plan.Mapping, nil
	}
	m, err := d.target.Newest(ctx)
	switch {
	case errors.Is(err, shard.ErrNotFound) && len(d.plan.Mapping) > 0:
		return d.plan.Mapping, nil
	case errors.Is(err, shard.ErrNotFound):
		m, err = d.source.Newest(ctx)
		return m.Mapping, err
	case err != nil:
		return nil, err
	case len(d.plan.Mapping) == 0:
		return m.Mapping, nil
	}
	return m.Mapping, d.checkMapping(d.plan.Mapping, m)
}

// checkMapping refuses a target, other than the source, that has another mapping.
func (d *desk) checkMapping(want json.RawMessage, target shard.Manifest) error {
	if d.plan.inPlace() {
		return nil
	}
	same, err := sameJSON(want, target.Mapping)
	if err == nil && !same {
		err = fmt.Errorf("shard %s is there with another mapping: reindex it in place, or name another target", target.Shard)
	}
	return task.Permanent(err)
}

func sameJSON(a, b any) (bool, error) {
	x, errX := normal(a)
	y, errY := normal(b)
	return reflect.DeepEqual(x, y), errors.Join(errX, errY)
}

func normal(v any) (out any, err error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return out, decode(raw, &out)
}

// pin returns the generation of the source that a round brings the target to, as it was pinned before; ErrNotFound if
// it is not.
func (d *desk) pin(ctx context.Context, round int) (shard.Manifest, error) {
	key := d.pinKey(round)
	body, err := d.store.Get(ctx, key, remotestore.All)
	if errors.Is(err, remotestore.ErrNotFound) {
		return shard.Manifest{}, fmt.Errorf("pin %s: %w", key, shard.ErrNotFound)
	}
	if err != nil {
		return shard.Manifest{}, fmt.Errorf("read pin: %w", err)
	}
	m, err := shard.Decode(body)
	if err != nil {
		return shard.Manifest{}, fmt.Errorf("pin %s: %w", key, err)
	}
	return m, nil
}

// pinNow pins a generation for a round, unless another run of the task was first, and returns the one that is pinned.
func (d *desk) pinNow(ctx context.Context, round int, m shard.Manifest) (shard.Manifest, error) {
	body, err := m.Encode()
	if err != nil {
		return shard.Manifest{}, err
	}
	err = d.store.Create(ctx, d.pinKey(round), body)
	if errors.Is(err, remotestore.ErrExists) {
		return d.pin(ctx, round)
	}
	if err != nil {
		return shard.Manifest{}, fmt.Errorf("pin generation %d of %s: %w", m.Generation, m.Shard, err)
	}
	return m, nil
}

// stage opens the shard in which a slice keeps account of what it has built. Its manifests are a shard's; the blobs that
// they name are the target's.
func (d *desk) stage(slice int) (*shard.Shard, error) {
	return shard.OpenApart(d.store, fmt.Sprintf("%s%s/slice-%d", Folder, d.id, slice))
}

// keep reserves blobs that garbage collection could take from under us: those of a pinned generation that is not the
// newest any more, and those that are built but not committed. It writes only what is missing or getting old.
func (d *desk) keep(ctx context.Context, s *shard.Shard, segments []shard.Segment) error {
	reserved := map[shard.BlobName]time.Time{}
	for b, err := range s.Reserved(ctx) {
		if err != nil {
			return err
		}
		reserved[b.Name] = b.At
	}
	for _, seg := range segments {
		if at, ok := reserved[seg.Blob]; ok && time.Since(at) < keepEvery/2 {
			continue
		}
		if err := s.Reserve(ctx, seg.Blob, d.id); err != nil {
			return err
		}
	}
	return nil
}

// clear ends the reservations that are ours, and removes everything of the reindex from the store.
func (d *desk) clear(ctx context.Context) error {
	for _, s := range []*shard.Shard{d.source, d.target} {
		for b, err := range s.Reserved(ctx) {
			if err != nil {
				return err
			}
			if ours, err := d.reservedByUs(ctx, s, b.Name); err != nil || !ours {
				if err != nil {
					return err
				}
				continue
			}
			if err := s.Unreserve(ctx, b.Name); err != nil {
				return err
			}
		}
	}
	for o, err := range d.store.List(ctx, Folder+d.id+"/", "") {
		if err != nil {
			return err
		}
		if o.Key == d.planKey() {
			continue // the last one: without it nobody would come back for the rest
		}
		if err := d.store.Delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return d.store.Delete(ctx, d.planKey())
}

// reservedByUs asks whose a reservation is.
func (d *desk) reservedByUs(ctx context.Context, s *shard.Shard, blob shard.BlobName) (bool, error) {
	by, err := s.ReservedBy(ctx, blob)
	return by == d.id, err
}
