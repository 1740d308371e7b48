package life

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// check is what both a test and a rapid property can fail by.
type check interface {
	require.TestingT
	Helper()
	Context() context.Context
}

// told keeps what a check says in the story of a life.
type told struct {
	check
	w *world
}

func (t told) Errorf(format string, args ...any) {
	t.w.failed = true
	t.w.logf(format, args...)
	t.check.Errorf(format, args...)
}

// maxShards bounds what restores and reindexes make.
const maxShards = 4

// world is everything that one life takes place in.
type world struct {
	t          check
	dir        string
	store      *clocked
	repository *clocked
	fleet      *fleet
	node       *datanode.Node
	stopNode   func()
	plain      *datanode.Node // where indexes are built in one go
	stopPlain  func()
	nodes      int

	shards    []*model
	switched  map[string]bool             // reindexes that are in a shard
	snapshots map[kept]bool               // complete and not deleted
	taken     map[kept]map[string]content // what snapshots hold, by shard
	names     int
	writes    int
	depth     int // of runs within runs
	story     []string
	failed    bool
	broken    any // what a check within a run panicked with
	counts    map[string]int
}

func newWorld(t check, dir string, store, repository remotestore.Store) *world {
	w := &world{
		dir: dir, store: newClocked(store), repository: newClocked(repository),
		switched: map[string]bool{}, snapshots: map[kept]bool{}, taken: map[kept]map[string]content{}, counts: map[string]int{},
	}
	w.t, w.fleet = told{t, w}, newFleet(w)
	w.node, w.stopNode = w.start(datanode.Config{Store: w.store, Queue: w.fleet, Offline: datanode.Offline{Merge: datanode.Always}})
	w.plain, w.stopPlain = w.start(datanode.Config{Store: remotestore.NewMemory()})
	for _, name := range []string{"books/0", "films"} {
		w.open(w.add(name))
	}
	return w
}

func (w *world) close() {
	w.stopNode()
	w.stopPlain()
}

func (w *world) logf(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

// start opens a data node that merges nothing by itself.
func (w *world) start(cfg datanode.Config) (*datanode.Node, func()) {
	w.nodes++
	never := datanode.DefaultPlan()
	never.CalcBudget = func(int64, int64, *mergeplan.MergePlanOptions) int { return 1 << 30 }
	cfg.Name, cfg.Dir, cfg.Plan = "data-1", filepath.Join(w.dir, fmt.Sprint("data-", w.nodes)), &never
	cfg.Refresh, cfg.Poll, cfg.Retry = time.Hour, 20*time.Millisecond, time.Millisecond
	n, err := datanode.Open(cfg)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	return n, func() {
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
		if err := n.Close(); err != nil {
			panic(err)
		}
	}
}

// add is a shard from now on.
func (w *world) add(name string) *model {
	s, err := shard.Open(w.store, name)
	require.NoError(w.t, err)
	m := &model{name: name, store: s}
	w.shards = append(w.shards, m)
	return m
}

func (w *world) open(m *model) {
	sh, _, err := w.node.Create(w.t.Context(), m.name, datanode.Settings{})
	require.NoError(w.t, err)
	m.open = sh
	w.follow(m)
}

func (w *world) restart() {
	w.stopNode()
	w.node, w.stopNode = w.start(datanode.Config{Store: w.store, Queue: w.fleet, Offline: datanode.Offline{Merge: datanode.Always}})
	for _, m := range w.opened() {
		w.follow(m)
		w.open(m)
	}
}

func (w *world) opened() (open []*model) {
	for _, m := range w.shards {
		if m.open != nil {
			open = append(open, m)
		}
	}
	return open
}

func (w *world) aShard(random *rand.Rand) *model {
	open := w.opened()
	return open[random.IntN(len(open))]
}

func (w *world) name(kind string) string {
	w.names++
	return fmt.Sprintf("%s-%d", kind, w.names)
}

func (w *world) submit(typ string, params any, options ...task.SubmitOption) *job {
	s, err := task.NewSubmission(typ, params, options...)
	require.NoError(w.t, err)
	w.fleet.add(s)
	w.logf("submitted %s %s %s", typ, s.ID, s.Params)
	return w.fleet.jobs[s.ID]
}

// A step of a life: what is done, and the seed of everything that is left open.
type step struct {
	action int
	seed   uint64
}

// actions are what a life is made of. Chance prefers those that come first.
var actions = []struct {
	name string
	do   func(*world, *rand.Rand)
}{
	{"write", (*world).writeOne},
	{"run", (*world).runSome},
	{"snapshot", (*world).snapshot},
	{"merge", (*world).merge},
	{"days pass", (*world).days},
	{"restore", (*world).restore},
	{"run", (*world).runSome},
	{"write", (*world).writeOne},
	{"reindex", (*world).reindex},
	{"run", (*world).runSome},
	{"delete", (*world).remove},
	{"force merge", (*world).forceMerge},
	{"compare", func(w *world, random *rand.Rand) { w.compare(w.aShard(random)) }},
	{"run", (*world).runSome},
	{"expunge", (*world).expunge},
	{"collect", func(w *world, _ *rand.Rand) { w.submit(remotegc.Type, remotegc.Params{}) }},
	{"write", (*world).writeOne},
	{"restart", func(w *world, _ *rand.Rand) { w.restart() }},
}

func (w *world) play(s step) {
	a := actions[s.action]
	w.logf("%s, %#x", a.name, s.seed)
	w.counts[a.name]++
	a.do(w, rand.New(rand.NewPCG(s.seed, 1)))
	w.judge()
	w.whole()
}

func (w *world) writeOne(random *rand.Rand) {
	m := w.aShard(random)
	if w.follow(m); m.held != "" {
		w.finish(m.held)
	}
	w.write(random, m)
}

// merge merges some segments, as any data node may have planned it.
func (w *world) merge(random *rand.Rand) {
	newest := w.newest(w.aShard(random))
	segments := slices.DeleteFunc(slices.Clone(newest.Segments), func(shard.Segment) bool { return random.IntN(3) == 0 })
	if len(segments) == 0 {
		return
	}
	id, p := merge.Plan(newest, segments)
	w.submit(merge.Type, p, task.ID(id))
}

func (w *world) forceMerge(random *rand.Rand) {
	m, n := w.aShard(random), 1+random.IntN(3)
	if random.IntN(2) == 0 {
		w.submit(merge.ForceType, merge.ForceParams{Shard: m.name, MaxSegments: n, AtOnce: 2, Expunge: random.IntN(2) == 0})
		return
	}
	_, err := m.open.ForceMerge(w.t.Context(), n)
	require.NoError(w.t, err)
}

func (w *world) expunge(random *rand.Rand) {
	_, err := w.aShard(random).open.Expunge(w.t.Context())
	require.NoError(w.t, err)
}

func (w *world) snapshot(random *rand.Rand) {
	p := snapshot.Params{Snapshot: w.name("snap"), Repository: random.IntN(2) == 0}
	for _, m := range w.opened() {
		if random.IntN(3) > 0 {
			p.Shards = append(p.Shards, m.name)
		}
	}
	if len(p.Shards) > 0 {
		w.submit(snapshot.Type, p)
	}
}

// aSnapshot returns one that is complete.
func (w *world) aSnapshot(random *rand.Rand) (k kept, ok bool) {
	var all []kept
	for k := range w.snapshots {
		all = append(all, k)
	}
	if len(all) == 0 {
		return k, false
	}
	slices.SortFunc(all, func(a, b kept) int { return strings.Compare(a.name, b.name) })
	return all[random.IntN(len(all))], true
}

func (w *world) remove(random *rand.Rand) {
	k, ok := w.aSnapshot(random)
	if !ok {
		return
	}
	w.logf("deleted %v", k)
	delete(w.snapshots, k)
	if k.repository {
		_, err := snapshot.DeleteCopy(w.t.Context(), w.repository, w.store, k.name)
		require.NoError(w.t, err)
		return
	}
	require.NoError(w.t, snapshot.Delete(w.t.Context(), w.store, k.name))
}

func (w *world) restore(random *rand.Rand) {
	k, ok := w.aSnapshot(random)
	if !ok {
		return
	}
	from := slices.Sorted(maps.Keys(w.taken[k]))
	t := snapshot.Target{Shard: from[random.IntN(len(from))]}
	switch random.IntN(3) {
	case 0:
		t.As = w.aShard(random).name
	case 1:
		t.As = w.newShard("restored")
	}
	w.submit(snapshot.RestoreType, snapshot.RestoreParams{
		Snapshot: k.name, Repository: k.repository, Shards: []snapshot.Target{t}, Force: true, Trust: random.IntN(2) == 0,
	})
}

// newShard returns the name of a shard that is not there; empty when there are enough of them.
func (w *world) newShard(kind string) string {
	if len(w.shards) == maxShards {
		return ""
	}
	return w.add(w.name(kind)).name
}

var keywords = func() json.RawMessage {
	m, err := datanode.FieldsMapping(map[string]string{"kind": "keyword", "n": "number", "at": "date"})
	if err != nil {
		panic(err)
	}
	return m
}()

func (w *world) reindex(random *rand.Rand) {
	p := reindex.Params{Source: w.aShard(random).name, Slices: 1 + random.IntN(3)}
	p.Target = p.Source
	if random.IntN(3) == 0 {
		if name := w.newShard("reindexed"); name != "" {
			p.Target = name
		}
	}
	p.Mapping = [...]json.RawMessage{nil, keywords, shard.DefaultMapping()}[random.IntN(3)]
	if p.Target != p.Source && p.Mapping == nil {
		p.Mapping = shard.DefaultMapping()
	}
	w.submit(reindex.Type, p)
}

// days lets time pass, with a collection each day.
func (w *world) days(random *rand.Rand) {
	for range 1 + random.IntN(4) {
		j := w.submit(remotegc.Type, remotegc.Params{})
		w.fleet.run(j, w.fate(random))
		w.judge()
		pass := time.Duration([]int{1, 25, 25, 49, 100}[random.IntN(5)]) * time.Hour
		w.logf("%s pass", pass)
		w.store.advance(pass)
		w.repository.advance(pass)
	}
}

func (w *world) runSome(random *rand.Rand) {
	for range 1 + random.IntN(5) {
		ready := w.fleet.ready()
		if len(ready) == 0 {
			return
		}
		j := ready[random.IntN(len(ready))]
		f := w.fate(random)
		w.fleet.run(j, f)
		w.logf("ran %s %s, dead: %t", j.Type, j.ID, f.dead)
		w.judge()
	}
}

// fate decides what happens to a run.
func (w *world) fate(random *rand.Rand) *fate {
	f := &fate{random: rand.New(rand.NewPCG(random.Uint64(), 2))}
	if random.IntN(3) == 0 {
		f.left, f.drained, f.effect = 1+random.IntN(40), random.IntN(3) == 0, random.IntN(2) == 0
	}
	if w.depth == 0 {
		f.disturb = w.disturb
	}
	return f
}

// disturb does something between two calls of a run.
func (w *world) disturb(random *rand.Rand) {
	if w.broken != nil || random.IntN(12) > 0 {
		return
	}
	w.depth++
	defer func() {
		w.depth--
		if p := recover(); p != nil { // this may be another goroutine than the test's
			w.broken = p
		}
	}()
	if random.IntN(4) > 0 {
		m := w.aShard(random)
		if w.follow(m); m.held == "" {
			w.counts["write within a run"]++
			w.write(random, m)
		}
		return
	}
	ready := w.fleet.ready()
	if random.IntN(2) == 0 { // the run that goes on was thought dead
		ready = w.fleet.underWay()
		w.counts["second run"]++
	}
	if len(ready) > 0 {
		w.fleet.run(ready[random.IntN(len(ready))], w.fate(random))
	}
}

// finish runs a task to its end, and whatever it waits for.
func (w *world) finish(id string) {
	for range 1000 {
		w.fleet.mu.Lock()
		ended := w.fleet.jobs[id].state.Status.Terminal()
		w.fleet.mu.Unlock()
		if ended {
			w.judge()
			return
		}
		for _, j := range w.fleet.ready() {
			if j.ID == id || strings.HasPrefix(j.ID, id+"/") {
				w.fleet.run(j, &fate{})
			}
		}
	}
	require.Fail(w.t, "a task does not end", id)
}

// judge looks at what has ended.
func (w *world) judge() {
	if p := w.broken; p != nil {
		panic(p)
	}
	for _, m := range w.shards {
		w.follow(m)
	}
	w.fleet.mu.Lock()
	order := slices.Clone(w.fleet.order)
	w.fleet.mu.Unlock()
	for _, j := range order {
		if j.state.Status.Terminal() && !j.judged {
			j.judged = true
			w.counts[fmt.Sprint(j.Type, " ", j.state.Status)]++
			w.ended(j)
		}
	}
}

func (w *world) ended(j *job) {
	if j.state.Status != task.Success {
		require.True(w.t, w.mayFail(j), "%s %s %s: %s: %s", j.Type, j.ID, j.Params, j.state.Status, j.state.Error)
		return
	}
	switch j.Type {
	case snapshot.Type:
		var p snapshot.Params
		require.NoError(w.t, json.Unmarshal(j.Params, &p))
		k := kept{p.Snapshot, p.Repository}
		d, err := snapshot.Get(w.t.Context(), w.home(k), k.name)
		require.NoError(w.t, err)
		require.True(w.t, d.Complete())
		w.taken[k] = map[string]content{}
		for _, part := range d.Shards {
			w.taken[k][part.Shard] = w.shard(part.Shard).at(part.Generation)
			require.Len(w.t, w.taken[k][part.Shard].docs, int(part.Docs), "%s in %s, generation %d", part.Shard, k.name, part.Generation)
		}
		w.snapshots[k] = true
	case snapshot.RestoreShardType:
		var p snapshot.RestoreShardParams
		require.NoError(w.t, json.Unmarshal(j.Params, &p))
		if m := w.shard(p.As); m.open == nil {
			w.open(m)
		}
	case reindex.Type:
		var p reindex.Params
		var r reindex.Result
		require.NoError(w.t, json.Unmarshal(j.Params, &p))
		require.NoError(w.t, json.Unmarshal(j.state.Result, &r))
		if p.Source != p.Target {
			w.adopt(w.shard(p.Target), w.shard(p.Source), r)
		}
	}
}

// adopt opens what a reindex has made. When the result does not say of which generation, it may be any.
func (w *world) adopt(m, source *model, r reindex.Result) {
	generations := []uint64{r.SourceGeneration}
	if r.NoEffect != "" {
		generations = generations[:0]
		for _, h := range source.history {
			generations = append(generations, h.generation)
		}
	}
	mapping := m.now().mapping
	w.open(m)
	is := map[string]string{}
	_, err := m.open.Refresh(w.t.Context())
	require.NoError(w.t, err)
	f, err := m.open.Search(w.t.Context(), datanode.Query{Size: 10 * ids})
	require.NoError(w.t, err)
	for _, h := range f.Hits {
		is[h.ID] = canonical(h.Source)
	}
	var want map[string]string
	for _, g := range generations {
		if want = source.at(g).docs; maps.Equal(want, is) {
			break
		}
	}
	require.Equal(w.t, want, is, "%s of %s", m.name, source.name)
	m.set(m.seen, content{is, mapping})
}

// mayFail tells whether the promises allow that a task has failed.
func (w *world) mayFail(j *job) bool {
	switch j.Type {
	case snapshot.RestoreType:
		var p snapshot.RestoreParams
		require.NoError(w.t, json.Unmarshal(j.Params, &p))
		return !w.snapshots[kept{p.Snapshot, p.Repository}]
	case snapshot.RestoreShardType:
		var p snapshot.RestoreShardParams
		require.NoError(w.t, json.Unmarshal(j.Params, &p))
		return !w.snapshots[kept{p.Snapshot, p.Repository}]
	case reindex.Type, reindex.SliceType:
		if j.Type == reindex.SliceType && w.switched[task.Root(j.ID)] { // by a run that was thought dead: nobody needs the slice
			return true
		}
		if strings.Contains(j.state.Error, "got another mapping meanwhile") { // it has, by another reindex or a restore
			var p reindex.Params
			require.NoError(w.t, json.Unmarshal(j.Params, &p))
			mappings := map[string]bool{}
			for _, h := range w.shard(p.Source).history {
				mappings[string(h.mapping)] = true
			}
			return p.Source == p.Target && len(p.Mapping) == 0 && len(mappings) > 1
		}
		w.fleet.mu.Lock()
		defer w.fleet.mu.Unlock()
		return w.store.now().Sub(w.fleet.jobs[task.Root(j.ID)].since) >= shard.ReservationLife/2
	}
	return false
}

func (w *world) shard(name string) *model {
	i := slices.IndexFunc(w.shards, func(m *model) bool { return m.name == name })
	require.GreaterOrEqual(w.t, i, 0, name)
	return w.shards[i]
}

func (w *world) home(k kept) *clocked {
	if k.repository {
		return w.repository
	}
	return w.store
}

func (w *world) newest(m *model) shard.Manifest {
	newest, err := m.store.Newest(w.t.Context())
	require.NoError(w.t, err)
	return newest
}

// whole looks whether every blob is there that a snapshot or a newest generation needs.
func (w *world) whole() {
	for _, store := range []*clocked{w.store, w.repository} {
		there := map[string]bool{}
		for o, err := range store.List(w.t.Context(), "", "") {
			require.NoError(w.t, err)
			there[o.Key] = true
		}
		needs := func(by string, m shard.Manifest) {
			for _, s := range m.Segments {
				require.True(w.t, there[m.Shard+"/blob/"+string(s.Blob)], "%s misses blob %s of %s, generation %d", by, s.Blob, m.Shard, m.Generation)
			}
		}
		for k := range w.snapshots {
			if w.home(k) != store {
				continue
			}
			for key := range there {
				if strings.HasPrefix(key, "_snapshot/"+k.name+"/part/") {
					body, err := store.Get(w.t.Context(), key, remotestore.All)
					require.NoError(w.t, err)
					m, err := shard.Decode(body)
					require.NoError(w.t, err)
					needs("snapshot "+k.name, m)
				}
			}
		}
		for _, m := range w.shards {
			if store == w.store && m.seen > 0 {
				needs("the shard", w.newest(m))
			}
		}
	}
}

// compare compares a shard with an index of its documents that is built in one go.
func (w *world) compare(m *model) {
	w.follow(m)
	want := m.now()
	newest := w.newest(m)
	require.Eventually(w.t, func() bool { return m.open.Stats().Generation >= newest.Generation }, time.Minute, time.Millisecond)
	require.JSONEq(w.t, string(want.mapping), string(newest.Mapping))
	require.Equal(w.t, len(want.docs), int(newest.Docs()), m.name)
	for i := range ids {
		got, err := m.open.Get(w.t.Context(), fmt.Sprint(i))
		doc, there := want.docs[fmt.Sprint(i)]
		if !there {
			require.ErrorIs(w.t, err, datanode.ErrNotFound, "document %d of %s", i, m.name)
			continue
		}
		require.NoError(w.t, err, "document %d of %s", i, m.name)
		require.Equal(w.t, doc, canonical(got.Source))
	}
	name := w.name("plain")
	plain, _, err := w.plain.Create(w.t.Context(), name, datanode.Settings{Mapping: want.mapping})
	require.NoError(w.t, err)
	var ops []datanode.Op
	for _, id := range slices.Sorted(maps.Keys(want.docs)) {
		ops = append(ops, datanode.Op{Kind: datanode.Index, ID: id, Source: []byte(want.docs[id])})
	}
	if len(ops) > 0 {
		_, err := plain.Bulk(w.t.Context(), ops)
		require.NoError(w.t, err)
	}
	expected := w.ask(plain)
	for i, is := range w.ask(m.open) {
		require.Equal(w.t, expected[i], is, "%s: %+v", m.name, queries[i])
	}
	require.NoError(w.t, w.plain.Drop(w.t.Context(), name, true))
}

// end lets everything end that is under way, and looks at all there is.
func (w *world) end() {
	w.logf("the end")
	for ready := w.fleet.ready(); len(ready) > 0; ready = w.fleet.ready() {
		w.fleet.run(ready[0], &fate{})
		w.judge()
		w.whole()
	}
	for _, m := range w.opened() {
		w.compare(m)
	}
	for _, k := range slices.SortedFunc(maps.Keys(w.snapshots), func(a, b kept) int { return strings.Compare(a.name, b.name) }) {
		w.comesBack(k)
	}
	w.garbageGoes()
	w.restart()
	for _, m := range w.opened() {
		w.compare(m)
	}
	left, err := filepath.Glob(filepath.Join(w.dir, "run-*"))
	require.NoError(w.t, err)
	require.Empty(w.t, left)
	require.NoError(w.t, os.RemoveAll(w.dir))
}

// comesBack restores every shard of a snapshot as one of its own.
func (w *world) comesBack(k kept) {
	for _, from := range slices.Sorted(maps.Keys(w.taken[k])) {
		m := w.add(w.name("end"))
		j := w.submit(snapshot.RestoreType, snapshot.RestoreParams{
			Snapshot: k.name, Repository: k.repository, Shards: []snapshot.Target{{Shard: from, As: m.name}},
		})
		w.finish(j.ID)
		require.Equal(w.t, w.taken[k][from], m.now())
		w.compare(m)
	}
}

// garbageGoes collects until nothing but what is needed is left.
func (w *world) garbageGoes() {
	for _, m := range w.shards {
		if m.open == nil { // what was to fill it has failed: the collector asks for this
			w.open(m)
		}
	}
	for range 4 {
		j := w.submit(remotegc.Type, remotegc.Params{})
		w.finish(j.ID)
		w.store.advance(shard.ReservationLife)
		w.whole()
	}
	needed := map[string]bool{}
	for _, m := range w.shards {
		for _, s := range w.newest(m).Segments {
			needed[m.name+"/blob/"+string(s.Blob)] = true
		}
	}
	for p, err := range snapshot.Pins(w.t.Context(), w.store) {
		require.NoError(w.t, err)
		needed[p.Shard+"/blob/"+string(p.Blob)] = true
	}
	for o, err := range w.store.List(w.t.Context(), "", "") {
		require.NoError(w.t, err)
		if strings.Contains(o.Key, "/blob/") {
			require.True(w.t, needed[o.Key], "what nobody needs goes at last: %s", o.Key)
		}
	}
}
