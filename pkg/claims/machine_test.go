package claims

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// TestTaskLife lets three nodes and a client do whatever they may to one task,
// in any order, with crashes at every gap, redeliveries, expiries, repeated
// calls and a Redis that forgets. What they do is what the protocol tells
// them. Checked at every step: one unexpired lease, tokens that grow, a
// terminal status that nothing changes, refusal of stale reports. In the end
// everything is let run dry, and every replay must have its outcome.
func TestTaskLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		defer w.close()
		t.Repeat(map[string]func(*rapid.T){
			"claim":     w.claim,
			"claim too": w.claim,
			"beat":      w.beat,
			"settle":    w.settle,
			"detach":    w.detach,
			"crash":     w.crash,
			"tick":      w.tick,
			"redeliver": w.redeliver,
			"redrive":   w.redrive,
			"cancel":    w.cancel,
			"submit":    w.submit,
			"forget":    w.forget,
			"late mark": w.lateMark,
			"rebuild":   func(t *rapid.T) { w.t = t; w.rebuild() },
			"":          func(t *rapid.T) { w.t = t; w.nothingIsLost() },
		})
		w.t = t
		w.runDry()
	})
}

const (
	lifeID       = "task"
	lifeAttempts = 2
)

// copyOf is a record of the task in the log.
type copyOf struct {
	replay, attempt, hop int
	finished             bool
}

// running is a claim as its node remembers it.
type running struct {
	lease   string
	token   int64
	record  int // index of the record it was granted to
	hop     int // the highest that the log has, as its node knows
	started time.Time
	renewed time.Time
}

type outcome struct {
	replay int
	status task.Status
	token  int64
}

type world struct {
	t     *rapid.T
	store *Store
	mini  *miniredis.Miniredis
	now   time.Time

	log     []copyOf
	nodes   [3]*running
	letters map[int]bool // dead letters, by replay: they come before the event
	events  []outcome    // on the results topic
	marks   []Mark       // acknowledgements that are still on their way
	tokens  int64        // the highest ever granted
	newest  int64        // the newest grant since Redis last forgot
	nonce   int
	replays int
	forgot  bool // ever: then a replay may have two outcomes
	cold    bool
}

func newWorld(t *rapid.T) *world {
	m := miniredis.NewMiniRedis()
	w := &world{t: t, mini: m, now: time.UnixMilli(1_800_000_000_000), cold: true, letters: make(map[int]bool)}
	m.SetTime(w.now)
	var err error
	w.store, err = Open(context.Background(), Config{Dialer: (&line{server: m}).dial})
	require.NoError(t, err)
	w.rebuild()
	w.log = []copyOf{{attempt: 1}}
	return w
}

func (w *world) close() {
	_ = w.store.Close()
	w.mini.Close()
}

func (w *world) ctx() context.Context { return context.Background() }

func (w *world) ask(record int) Ask {
	c := w.log[record]
	return first(lifeID).at(c.replay, c.attempt, c.hop)
}

// pending picks a record that is not finished.
func (w *world) pending(t *rapid.T) (int, bool) {
	var open []int
	for i, c := range w.log {
		if !c.finished {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(open).Draw(t, "record"), true
}

// publish appends a record, as acknowledged by Kafka.
func (w *world) publish(c copyOf) { w.log = append(w.log, c) }

func (w *world) event(st *State) {
	w.events = append(w.events, outcome{st.Replay, st.Status, st.AllocationID})
	if w.forgot {
		return
	}
	for _, e := range w.events {
		if e.replay == st.Replay {
			require.Equal(w.t, e.status, st.Status, "a replay has one outcome")
			require.Equal(w.t, e.token, st.AllocationID)
		}
	}
}

func (w *world) ended(replay int) bool {
	return slices.ContainsFunc(w.events, func(e outcome) bool { return e.replay == replay })
}

// claim asks for a record, once or twice, and does what the answer says, as
// far as a crash lets it.
func (w *world) claim(t *rapid.T) {
	w.t = t
	record, ok := w.pending(t)
	if !ok {
		return
	}
	var idle []int
	for n, r := range w.nodes {
		if r == nil {
			idle = append(idle, n)
		}
	}
	if len(idle) == 0 {
		return
	}
	node := rapid.SampledFrom(idle).Draw(t, "node")
	w.claimFor(node, record, rapid.Bool().Draw(t, "call twice"), rapid.IntRange(0, 3).Draw(t, "crash after"))
}

func (w *world) claimFor(node, record int, twice bool, crash int) Verdict {
	w.nonce++
	nonce := fmt.Sprint(w.nonce)
	ask := w.ask(record)
	one := func() Answer {
		answers, err := w.store.Claim(w.ctx(), fmt.Sprint("node-", node), nonce, []Ask{ask})
		require.NoError(w.t, err)
		require.NoError(w.t, answers[0].Err)
		return answers[0]
	}
	a := one()
	if twice {
		if again := one(); a.Verdict == Granted || a.Verdict == Settled || a.Verdict == Superseded {
			require.Equal(w.t, a.Verdict, again.Verdict)
			require.Equal(w.t, a.Lease, again.Lease)
		}
	}
	if w.cold {
		require.Equal(w.t, Cold, a.Verdict)
	}
	switch a.Verdict {
	case Granted:
		w.granted(node, record, a)
	case Owed:
		w.owed(record, a.State, crash)
	case Settled:
		require.True(w.t, w.ended(ask.Replay), "settled, but no event says so")
		w.log[record].finished = true
	case Superseded:
		w.log[record].finished = true
	case Cold:
		require.True(w.t, w.cold)
	case Held:
		require.Positive(w.t, a.Wait)
		require.LessOrEqual(w.t, a.Wait, w.store.cfg.Lease)
	default:
		require.Fail(w.t, "unexpected", "%+v", a)
	}
	return a.Verdict
}

func (w *world) granted(node, record int, a Answer) {
	replay := w.log[record].replay
	require.Greater(w.t, a.AllocationID, w.tokens, "tokens grow")
	for n, r := range w.nodes {
		if r != nil {
			require.False(w.t, w.now.Before(r.renewed.Add(w.store.cfg.Lease)), "node %d has an unexpired lease", n)
		}
	}
	require.False(w.t, w.ended(replay) && !w.forgot, "granted after its end")
	if a.State != nil {
		require.LessOrEqual(w.t, a.State.Lost, w.store.cfg.MaxLost)
	}
	w.tokens, w.newest = a.AllocationID, a.AllocationID
	w.nodes[node] = &running{lease: a.Lease, token: a.AllocationID, record: record, hop: w.log[record].hop, started: w.now, renewed: w.now}
}

// owed publishes what a claim found; crash tells after which step the node dies.
func (w *world) owed(record int, st *State, crash int) {
	require.False(w.t, st.Published)
	if st.Status.Terminal() { // perhaps settled by this very claim, which is a newer one
		w.newest, w.tokens = max(w.newest, st.AllocationID), max(w.tokens, st.AllocationID)
	}
	if !w.publishState(st, crash) {
		return
	}
	if st.Replay < w.log[record].replay {
		require.NoError(w.t, w.store.Published(w.ctx(), []Mark{markOf(st)}))
		return // and asks again
	}
	if crash == 2 {
		return
	}
	w.log[record].finished = true
	if crash == 3 {
		w.marks = append(w.marks, markOf(st))
	}
}

// publishState publishes what a state owes, the dead letter first, and tells
// whether no crash cut it short.
func (w *world) publishState(st *State, crash int) bool {
	if st.Status == task.Failed && crash != 0 {
		w.letters[st.Replay] = true
	}
	if crash == 1 {
		return false
	}
	if st.Status.Terminal() {
		w.letters[st.Replay] = true
		w.event(st)
	} else {
		w.publish(copyOf{replay: st.Replay, attempt: st.Attempt, hop: st.Hop})
	}
	return true
}

// lateMark lets an acknowledgement arrive, in any order.
func (w *world) lateMark(t *rapid.T) {
	w.t = t
	if len(w.marks) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.marks)-1).Draw(t, "mark")
	require.NoError(t, w.store.Published(w.ctx(), w.marks[i:i+1]))
	w.marks = slices.Delete(w.marks, i, i+1)
}

// anyRunning picks a node that runs the task, or believes so.
func (w *world) anyRunning(t *rapid.T) (int, *running) {
	w.t = t
	var busy []int
	for n, r := range w.nodes {
		if r != nil {
			busy = append(busy, n)
		}
	}
	if len(busy) == 0 {
		return 0, nil
	}
	node := rapid.SampledFrom(busy).Draw(t, "node")
	return node, w.nodes[node]
}

func (w *world) beat(t *rapid.T) {
	node, r := w.anyRunning(t)
	if r == nil {
		return
	}
	b := w.ask(r.record).beat(r.lease)
	b.Hop, b.Active = r.hop, rapid.Bool().Draw(t, "active")
	b.Reset = rapid.Bool().Draw(t, "checkpoint")
	w.beatOnce(node, b)
	if w.nodes[node] != nil && rapid.Bool().Draw(t, "call twice") {
		w.beatOnce(node, b)
	}
}

func (w *world) beatOnce(node int, b Beat) {
	r := w.nodes[node]
	answers, err := w.store.Beat(w.ctx(), []Beat{b})
	require.NoError(w.t, err)
	switch answers[0].Verdict {
	case Kept, KeptCancel:
		require.LessOrEqual(w.t, w.newest, r.token, "somebody claimed since")
		r.renewed = w.now
		w.newest = max(w.newest, r.token)
	case Lost:
		w.nodes[node] = nil
	default:
		require.Fail(w.t, "unexpected", "%+v", answers[0])
	}
}

// settle ends a run, and publishes what that owes as far as a crash lets it.
func (w *world) settle(t *rapid.T) {
	node, r := w.anyRunning(t)
	if r == nil {
		return
	}
	kind := rapid.SampledFrom([]string{"success", "failure", "interruption"}).Draw(t, "outcome")
	w.settleAs(node, kind, rapid.Bool().Draw(t, "call twice"), rapid.IntRange(0, 3).Draw(t, "crash after"))
}

func (w *world) settleAs(node int, kind string, twice bool, crash int) {
	r := w.nodes[node]
	c := w.log[r.record]
	s := w.ask(r.record).settle(r.lease, task.Success)
	s.Hop, s.Fresh = r.hop, w.now.Sub(r.started) < w.store.cfg.Retention/2
	s.Wake = true
	switch {
	case kind == "interruption":
		s.Status, s.Interrupted = task.Unassigned, true
	case kind == "failure" && c.attempt < lifeAttempts:
		s.Status, s.Attempt, s.Hop = task.Unassigned, c.attempt+1, 0
	case kind == "failure":
		s.Status, s.Reason = task.Failed, task.RetriesExhausted
	}
	one := func() SettleAnswer {
		answers, err := w.store.Settle(w.ctx(), []Settlement{s})
		require.NoError(w.t, err)
		require.NoError(w.t, answers[0].Err)
		return answers[0]
	}
	a := one()
	if twice {
		require.Equal(w.t, a, one(), "a settlement may be repeated")
	}
	w.nodes[node] = nil
	if a.Verdict == Stale {
		require.True(w.t, w.newest > r.token || w.forgot || !s.Fresh || w.ended(c.replay), "refused though nobody claimed since")
		return
	}
	require.LessOrEqual(w.t, w.newest, r.token, "a stale settlement was taken")
	st, err := w.store.States(w.ctx(), []string{lifeID})
	require.NoError(w.t, err)
	w.afterSettling(r, a, st[0], crash)
}

func (w *world) afterSettling(r *running, a SettleAnswer, st *State, crash int) {
	require.Equal(w.t, a.Status, st.Status)
	if a.Status == task.Unassigned && st.Attempt == w.log[r.record].attempt { // interrupted: the record stays
		return
	}
	if !w.publishState(st, crash) || crash == 2 {
		return
	}
	w.log[r.record].finished = true
	if crash == 3 {
		w.marks = append(w.marks, markOf(st))
	}
}

// detach re-publishes a record under the next hop number.
func (w *world) detach(t *rapid.T) {
	w.t = t
	record, ok := w.pending(t)
	if !ok {
		return
	}
	ask := w.ask(record).hop("")
	var holder *running
	for _, r := range w.nodes {
		if r != nil && r.record == record && rapid.Bool().Draw(t, "by the holder") {
			holder = r
			ask.Lease = r.lease
		}
	}
	answers, err := w.store.RaiseHop(w.ctx(), []HopAsk{ask})
	require.NoError(t, err)
	a := answers[0]
	if w.cold {
		require.ErrorIs(t, a.Err, ErrCold)
		return
	}
	require.NoError(t, a.Err)
	crash := rapid.IntRange(0, 3).Draw(t, "crash after")
	if a.Superseded || crash == 1 {
		return
	}
	c := w.log[record]
	c.hop = a.Hop
	w.publish(c)
	if holder != nil {
		holder.hop = a.Hop
	}
	if crash == 2 {
		return
	}
	w.log[record].finished = true
	if crash == 3 {
		m := Mark{ID: lifeID, Replay: c.replay, Attempt: c.attempt, Hop: c.hop, AllocationID: a.AllocationID, Status: task.Unassigned}
		w.marks = append(w.marks, m)
	}
}

func (w *world) crash(t *rapid.T) {
	node, _ := w.anyRunning(t)
	w.nodes[node] = nil
}

func (w *world) tick(t *rapid.T) {
	w.t = t
	w.pass(time.Duration(rapid.IntRange(1, 40).Draw(t, "half seconds")) * 500 * time.Millisecond)
}

func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.mini.SetTime(w.now)
	w.mini.FastForward(d)
}

// redeliver brings a finished record back, as a rebalance does before the
// commit.
func (w *world) redeliver(t *rapid.T) {
	w.t = t
	i := rapid.IntRange(0, len(w.log)-1).Draw(t, "record")
	w.log[i].finished = false
}

func (w *world) redrive(t *rapid.T) {
	w.t = t
	if w.replays < 2 && w.letters[w.replays] {
		w.replays++
		w.publish(copyOf{replay: w.replays, attempt: 1})
	}
}

func (w *world) cancel(t *rapid.T) {
	w.t = t
	if rapid.IntRange(0, 9).Draw(t, "rarely") != 0 {
		return
	}
	answer, st, err := w.store.Cancel(w.ctx(), lifeID, nil)
	if w.cold {
		require.ErrorIs(t, err, ErrCold)
		return
	}
	require.NoError(t, err)
	if answer != CancelSettled {
		return
	}
	require.Equal(t, task.Cancelled, st.Status)
	w.newest = max(w.newest, st.AllocationID)
	w.tokens = max(w.tokens, st.AllocationID)
	if rapid.Bool().Draw(t, "publish") {
		w.event(st)
		require.NoError(t, w.store.Published(w.ctx(), []Mark{markOf(st)}))
	}
}

func (w *world) submit(t *rapid.T) {
	w.t = t
	_, err := w.store.Submit(w.ctx(), []Submission{{ID: lifeID, Replay: w.replays, ParamsHash: 7}})
	require.NoError(t, err)
}

// forget empties Redis.
func (w *world) forget(t *rapid.T) {
	w.t = t
	if rapid.IntRange(0, 4).Draw(t, "rarely") != 0 {
		return
	}
	w.mini.FlushAll()
	w.forgot, w.cold, w.newest = true, true, 0
	for _, r := range w.nodes {
		if r != nil {
			r.renewed = time.Time{} // there is no lease until a beat puts it back
		}
	}
	w.pass(time.Second)
}

// rebuild reads the outcomes back and opens the buckets.
func (w *world) rebuild() {
	if !w.cold {
		return
	}
	cold, err := w.store.Cold(w.ctx())
	require.NoError(w.t, err)
	nonce := fmt.Sprint("rebuild-", w.now.UnixMilli())
	require.NoError(w.t, w.store.MarkCold(w.ctx(), nonce, cold.Buckets))
	var outcomes []Outcome
	for _, e := range w.events {
		outcomes = append(outcomes, Outcome{ID: lifeID, Replay: e.replay, Attempt: lifeAttempts, Status: e.status, AllocationID: e.token, At: w.now})
	}
	require.NoError(w.t, w.store.Restore(w.ctx(), outcomes))
	warmed, err := w.store.Warm(w.ctx(), nonce, cold.Buckets)
	require.NoError(w.t, err)
	require.Len(w.t, cold.Buckets, warmed)
	w.cold = false
}

// nothingIsLost: a replay that has no outcome yet has a record that is not finished.
func (w *world) nothingIsLost() {
	for replay := range w.replays + 1 {
		if w.redrivenUnheard(replay) {
			continue
		}
		open := slices.ContainsFunc(w.log, func(c copyOf) bool { return c.replay == replay && !c.finished })
		require.True(w.t, open || w.ended(replay), "replay %d has neither an outcome nor a record: %+v", replay, w.log)
	}
}

// redrivenUnheard: the dead letter of a replay was redriven before its event
// was published, and then Redis forgot that it was owed. The redriven task
// takes its place.
func (w *world) redrivenUnheard(replay int) bool { return w.forgot && replay < w.replays }

// runDry lets time pass and one node succeed until every record is finished.
func (w *world) runDry() {
	w.rebuild()
	w.nodes = [3]*running{}
	for range 200 {
		busy := false
		for record := 0; record < len(w.log); record++ {
			if w.log[record].finished {
				continue
			}
			busy = true
			if w.claimFor(0, record, false, 0) == Granted {
				w.settleAs(0, "success", false, 0)
			}
		}
		if !busy {
			break
		}
		w.pass(w.store.cfg.Lease)
	}
	for replay := range w.replays + 1 {
		require.True(w.t, w.ended(replay) || w.redrivenUnheard(replay), "replay %d never ended", replay)
	}
	for _, c := range w.log {
		require.True(w.t, c.finished, "%+v is never finished", c)
	}
}
