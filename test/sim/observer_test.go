//go:build synctests

package sim

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// The invariants.
const (
	I1  = "I1 nothing accepted is lost"
	I2  = "I2 one unexpired lease"
	I3  = "I3 one terminal status"
	I4  = "I4 every terminal status has its event"
	I5  = "I5 stale reports are refused"
	I6  = "I6 one effect per task"
	I7  = "I7 no commit passes an unfinished record"
	I8  = "I8 no commit goes down"
	I9  = "I9 bad input is set aside whole and blocks nothing"
	I10 = "I10 every process ends in order"
	I11 = "I11 every gap is told"
	I12 = "I12 a dead node's tasks run elsewhere in time"
	I13 = "I13 a run needs a reason"
	I14 = "I14 outcomes are what the scripts say"
)

// Violation is a broken promise.
type Violation struct {
	Invariant, What string
	At              time.Duration // since the start
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.At, v.Invariant, v.What) }

// Stats say what a history has exercised, and how much of it was judged.
type Stats struct {
	Tasks, Runs, Events, Repeats, Letters, Effects, Crashes, Hops int
	Faults                                                        int // that were injected
	Records, Commits, States, Leases                              int // that were judged; the last two: changes seen in Redis
	Takeovers                                                     []time.Duration
}

// plus sums up.
func (s Stats) plus(o Stats) Stats {
	s.Tasks, s.Runs, s.Events, s.Repeats = s.Tasks+o.Tasks, s.Runs+o.Runs, s.Events+o.Events, s.Repeats+o.Repeats
	s.Letters, s.Effects, s.Crashes, s.Hops = s.Letters+o.Letters, s.Effects+o.Effects, s.Crashes+o.Crashes, s.Hops+o.Hops
	s.Faults, s.Records, s.Commits = s.Faults+o.Faults, s.Records+o.Records, s.Commits+o.Commits
	s.States, s.Leases = s.States+o.States, s.Leases+o.Leases
	s.Takeovers = slices.Concat(s.Takeovers, o.Takeovers)
	return s
}

func (s Stats) String() string {
	text := fmt.Sprintf("%d faults, %d crashes, %d tasks, %d runs, %d events (%d repeats), %d dead letters, %d effects, %d hops; judged: %d records, %d commits, %d states, %d leases",
		s.Faults, s.Crashes, s.Tasks, s.Runs, s.Events, s.Repeats, s.Letters, s.Effects, s.Hops, s.Records, s.Commits, s.States, s.Leases)
	if n := len(s.Takeovers); n > 0 {
		text += fmt.Sprintf("; %d takeovers, the longest after %s", n, slices.Max(s.Takeovers).Round(10*time.Millisecond))
	}
	return text
}

// observer judges a world. It has a connection of its own that no fault meets.
type observer struct {
	w     *world
	began time.Time

	mu      sync.Mutex
	found   []Violation
	stats   Stats
	story   []string
	tasks   map[string]*taskInfo
	runs    map[string][]*liveRun // of each task, in order
	blobs   map[string]string     // which task made it
	effects map[string]int        // in the newest manifest
	newest  uint64
	quiet   time.Time // until when the cluster is disturbed
	nodes   map[*member]*nodeInfo
	redis   redisInfo
	log     logInfo
	owed    []*takeover
	heal    time.Time
	gaps    []gap
	raws    []*raw
}

// taskInfo is what the observer knows of one task from outside.
type taskInfo struct {
	id        string
	load      load
	params    []byte
	accepted  bool
	cancelled bool
	rival     bool         // another task was submitted under its id
	replays   map[int]bool // that were accepted
}

// liveRun is one call of a worker.
type liveRun struct {
	m          *member
	id         string
	replay     int
	attempt    int
	allocation int64
	began      time.Time
	ended      time.Time // zero while it goes on
	err, cause error
	crashed    bool
}

// nodeInfo is what a node suffered.
type nodeInfo struct {
	suffers int       // faults under way
	until   time.Time // the end of the last one
	leaving time.Time
	crashed time.Time
}

// redisInfo is what Redis suffered, and what it held at the last look.
type redisInfo struct {
	away     int
	until    time.Time
	jumped   time.Time // last time its clock did
	forgot   time.Time // last time it lost everything
	states   map[string]string
	leases   map[string]string
	terminal map[outcomeKey]terminal
}

// takeover is a task that a dead node ran.
type takeover struct {
	id    string
	node  string
	died  time.Time
	since time.Time // no node was full
}

func newObserver(w *world) *observer {
	return &observer{
		w: w, began: time.Now(), tasks: map[string]*taskInfo{}, runs: map[string][]*liveRun{}, blobs: map[string]string{},
		effects: map[string]int{}, nodes: map[*member]*nodeInfo{},
		redis: redisInfo{states: map[string]string{}, leases: map[string]string{}, terminal: map[outcomeKey]terminal{}},
		log:   newLogInfo(),
	}
}

// violate notes a broken promise.
func (o *observer) violate(invariant, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken(invariant, format, args...)
}

func (o *observer) broken(invariant, format string, args ...any) {
	if len(o.found) < 20 {
		o.found = append(o.found, Violation{invariant, fmt.Sprintf(format, args...), time.Since(o.began)})
	}
}

func (o *observer) failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.found) > 0
}

func (o *observer) violations() []Violation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.found)
}

func (o *observer) counts() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Tasks = len(o.tasks)
	return s
}

// tell keeps a line of the story.
func (o *observer) tell(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line(format, args...)
}

func (o *observer) line(format string, args ...any) {
	text := fmt.Sprintf("%8.2fs ", time.Since(o.began).Seconds()) + fmt.Sprintf(format, args...)
	o.story = append(o.story, text)
	if *story { // as it goes: a history may hang
		fmt.Fprintln(os.Stderr, text)
	}
}

// takes notes a step of the schedule.
func (o *observer) takes(s Step) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.Do != "submit" && s.Do != "wait" {
		o.stats.Faults++
	}
	o.line("%s %+v", s.Do, s)
}

func (o *observer) submits(id string, l load, params []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tasks[id] = &taskInfo{id: id, load: l, params: params, replays: map[int]bool{}}
}

func (o *observer) accepted(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tasks[id].accepted = true
	o.tasks[id].replays[0] = true
}

// writes notes a record that others have written.
func (o *observer) writes(x *raw) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line("%s record %s/%d/%d under %q", x.kind, x.topic, x.partition, x.offset, x.id)
	o.raws = append(o.raws, x)
}

// someTask is one that was accepted, for a second record under its id.
func (o *observer) someTask(n int, rival bool) (id string, params []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(o.tasks)) {
		if t := o.tasks[id]; t.accepted {
			if n--; n < 0 {
				t.rival = t.rival || rival
				return id, t.params, true
			}
		}
	}
	return "", nil, false
}

// retained notes that everything below an offset is being deleted.
func (o *observer) retained(topic string, partition int32, below int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log.starts[place{topic, partition}] = below
	o.disturbed(time.Minute)
}

func (o *observer) cancels(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.tasks[id]; t != nil {
		t.cancelled = true
	}
}

func (o *observer) redriven(id string, replay int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line("redriven %s replay %d", id, replay)
	if t := o.tasks[id]; t != nil {
		t.replays[replay] = true
	}
}

func (o *observer) node(m *member) *nodeInfo {
	n := o.nodes[m]
	if n == nil {
		n = &nodeInfo{}
		o.nodes[m] = n
	}
	return n
}

// suffers notes a fault of one node until the returned function is called.
func (o *observer) suffers(m *member) (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.node(m)
	n.suffers++
	o.disturbed(time.Minute)
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		n.suffers--
		n.until = time.Now()
		o.disturbed(20 * time.Second)
	}
}

// disturbs notes a fault of the cluster that is no reason for a run, but one
// for being late.
func (o *observer) disturbs(_ string, d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.disturbed(d)
}

// disturbed puts off what has a time limit.
func (o *observer) disturbed(d time.Duration) {
	if until := time.Now().Add(d); until.After(o.quiet) {
		o.quiet = until
	}
	o.owed = nil
}

func (o *observer) redisAway() (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.redis.away++
	o.disturbed(time.Hour)
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.redis.away--
		o.redis.until = time.Now()
		o.quiet = time.Now().Add(40 * time.Second)
	}
}

// jumps notes that Redis' clock is moved.
func (o *observer) jumps() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.redis.jumped = time.Now()
	o.disturbed(time.Minute)
}

// forgets makes Redis lose everything.
func (o *observer) forgets(wipe func()) {
	o.lookAtRedis()
	o.mu.Lock()
	defer o.mu.Unlock()
	wipe()
	o.redis.forgot = time.Now()
	clear(o.redis.states)
	clear(o.redis.leases)
	o.disturbed(45 * time.Second)
}

func (o *observer) healed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line("all is healed")
	o.heal = time.Now()
}

func (o *observer) leaves(m *member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.node(m).leaving = time.Now()
	o.disturbed(grace + 20*time.Second)
}

// crashed ends the runs of a node, and expects others to take them over.
func (o *observer) crashed(m *member) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.line("%s crashes", m.name)
	o.stats.Crashes++
	o.node(m).crashed = now
	calm := now.After(o.quiet) && o.redis.away == 0 && o.node(m).suffers == 0
	o.owed = nil
	for id, runs := range o.runs {
		for _, r := range runs {
			if r.m != m || !r.ended.IsZero() {
				continue
			}
			r.ended, r.crashed = now, true
			if calm {
				o.owed = append(o.owed, &takeover{id, m.name, now, now})
			}
		}
	}
}

// takeoverTime is the promise: max(session timeout, lease) + 5 s.
const takeoverTime = 20 * time.Second

// late judges takeovers. What comes to a node without a free slot may take longer.
func (o *observer) late() {
	now := time.Now()
	if len(o.owed) == 0 {
		return
	}
	if o.anyFull() {
		for _, t := range o.owed {
			t.since = now
		}
		return
	}
	o.owed = slices.DeleteFunc(o.owed, func(t *takeover) bool {
		if o.ended(t.id) {
			return true
		}
		if now.Sub(t.since) <= takeoverTime {
			return false
		}
		o.broken(I12, "%s ran on %s, which died %s ago, and runs nowhere", t.id, t.node, now.Sub(t.died))
		return true
	})
}

// ended tells whether a task has an event for every replay that was accepted.
func (o *observer) ended(id string) bool {
	t := o.tasks[id]
	if t == nil {
		return false
	}
	for replay := range t.replays {
		if len(o.log.events[outcomeKey{id, replay}]) == 0 {
			return false
		}
	}
	return true
}

// anyFull tells whether a node that lives has no free slot.
func (o *observer) anyFull() bool {
	running := map[*member]int{}
	for _, runs := range o.runs {
		for _, r := range runs {
			if r.ended.IsZero() {
				running[r.m]++
			}
		}
	}
	return slices.ContainsFunc(o.w.alive(), func(m *member) bool { return running[m] >= slots })
}

// begins judges whether a run may be, and notes it.
func (o *observer) begins(m *member, x *task.Execution) *liveRun {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &liveRun{m: m, id: x.ID, replay: x.Replay, attempt: x.Attempt, allocation: x.AllocationID, began: time.Now()}
	if m.link.isDead() {
		r.ended, r.crashed = r.began, true
	}
	o.stats.Runs++
	o.line("%s runs %s replay %d attempt %d allocation %d", m.name, r.id, r.replay, r.attempt, r.allocation)
	for _, before := range o.runs[x.ID] {
		if r.crashed {
			break
		}
		o.compare(before, r)
	}
	o.runs[x.ID] = append(o.runs[x.ID], r)
	for i, t := range o.owed {
		if t.id == r.id && !r.crashed {
			o.stats.Takeovers = append(o.stats.Takeovers, r.began.Sub(t.died))
			o.owed = slices.Delete(o.owed, i, i+1)
			break
		}
	}
	if e := o.log.events[outcomeKey{r.id, r.replay}]; len(e) > 0 && r.began.Sub(e[0].at) > 5*time.Second && !r.crashed {
		if o.redis.forgot.Before(e[0].at) || r.began.Sub(o.redis.forgot) > 2*time.Minute {
			o.broken(I3, "%s replay %d runs on %s although it ended as %s %s ago", r.id, r.replay, m.name, e[0].Status, r.began.Sub(e[0].at))
		}
	}
	return r
}

// compare judges a run by an earlier one of the same task.
func (o *observer) compare(before, r *liveRun) {
	excuse := o.excuse(before)
	late := o.w.schedule.Guarded && o.excuse(r) != ""
	// A Redis that forgets takes the next ids from its clock, which may be behind by then.
	anew := o.redis.forgot.After(before.began) && !o.redis.jumped.IsZero()
	if r.allocation <= before.allocation && !late && !anew {
		o.broken(I5, "%s: allocation id %d on %s after %d on %s", r.id, r.allocation, r.m.name, before.allocation, before.m.name)
	}
	switch {
	case before.ended.IsZero():
		if excuse == "" {
			o.broken(I2, "%s runs on %s and on %s at once", r.id, before.m.name, r.m.name)
		}
	case before.replay != r.replay || before.attempt != r.attempt || before.crashed:
	case excuse == "":
		o.broken(I13, "%s replay %d attempt %d ran on %s until %s ago (error %v, cause %v), and runs again on %s for no reason",
			r.id, r.replay, r.attempt, before.m.name, r.began.Sub(before.ended), before.err, before.cause, r.m.name)
	}
}

// excuse says why a run may have been cut short, or its report lost: a fault
// of its node, or of Redis, while it went on or was reported.
func (o *observer) excuse(r *liveRun) string {
	n := o.node(r.m)
	from := r.began.Add(-15 * time.Second) // a lease's time: the claim came before
	switch {
	case !n.crashed.IsZero():
		return "crashed"
	case n.suffers > 0 || n.until.After(from):
		return "node suffers"
	case !n.leaving.IsZero():
		return "node left"
	case o.redis.away > 0 || o.redis.until.After(from):
		return "Redis was away"
	case o.redis.forgot.After(from) || o.redis.jumped.After(from):
		return "Redis forgot"
	}
	return ""
}

func (o *observer) ends(r *liveRun, err, cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !r.ended.IsZero() {
		return
	}
	r.ended, r.err, r.cause = time.Now(), err, cause
	o.line("%s ends %s attempt %d: %v (%v)", r.m.name, r.id, r.attempt, err, cause)
}

// runner is a node that runs a task now.
func (o *observer) runner() *member {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, runs := range o.runs {
		for _, r := range runs {
			if r.ended.IsZero() {
				return r.m
			}
		}
	}
	return nil
}

func (o *observer) intends(blob, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blobs[blob] = id
}

// committed judges a manifest that is in the store.
func (o *observer) committed(body []byte) {
	m, err := shard.Decode(body)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.broken(I6, "manifest cannot be read: %v", err)
		return
	}
	counts := map[string]int{}
	for _, s := range m.Segments {
		counts[o.blobs[string(s.Blob)]]++
	}
	for id, n := range counts {
		if n > 1 {
			o.broken(I6, "%s has %d effects in generation %d", id, n, m.Generation)
		}
	}
	if m.Generation > o.newest {
		o.newest, o.effects = m.Generation, counts
	}
	o.stats.Effects = len(o.effects)
}

// gap is a range of offsets that a node has reported as lost.
type gap struct {
	place
	from, to int64
}

// nodeLogs keeps what a node says, for the story, and finds reports of gaps.
type nodeLogs struct {
	o     *observer
	m     *member
	attrs string
}

func (o *observer) logs(m *member) slog.Handler { return &nodeLogs{o: o, m: m} }

func (h *nodeLogs) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (h *nodeLogs) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &nodeLogs{h.o, h.m, h.attrs + fmt.Sprint(attrs)}
}

func (h *nodeLogs) WithGroup(string) slog.Handler { return h }

func (h *nodeLogs) Handle(_ context.Context, r slog.Record) error {
	if h.m.crashed.Load() {
		return nil
	}
	var b strings.Builder
	var g gap
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		switch a.Key {
		case "topic":
			g.topic = a.Value.String()
		case "partition":
			g.partition = int32(a.Value.Int64())
		case "from":
			g.from = a.Value.Int64()
		case "to":
			g.to = a.Value.Int64()
		}
		return true
	})
	h.o.mu.Lock()
	defer h.o.mu.Unlock()
	if g.to > 0 {
		h.o.gaps = append(h.o.gaps, g)
	}
	h.o.line("%s %s %s%s", h.m.name, r.Level, r.Message, b.String())
	return nil
}
