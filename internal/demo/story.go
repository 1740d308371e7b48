package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
)

// errNotHeld ends a demo that was shown to the end, but not everything held.
var errNotHeld = errors.New("not everything held")

const (
	// usualDocuments is how many are written at least, time permitting or not.
	usualDocuments = 20_000
	// fillTime is for how long more are written, as far as the corpus goes.
	fillTime = 40 * time.Second
	// reserve is which part of the corpus is left to be written later: one in so many.
	reserve = 8
	// measureTime is how long the phases before and after are measured.
	measureTime = 15 * time.Second

	// lateTime is the time since the start after which nothing more is begun.
	lateTime = 150 * time.Second

	lookEvery = 200 * time.Millisecond
)

// story is what is shown, from an empty shard to the table.
type story struct {
	console  *console
	place    *place
	fleet    *fleet
	node     *dataNode
	fail     context.CancelCauseFunc
	options  *Options
	follower *follower

	model   *model
	meter   *meter
	writer  *writer
	battery battery
	traffic []search
	load    *load // what runs now; nil: nothing

	measure time.Duration // of the phases before and after
	every   time.Duration // how often is looked
	report  Report
	told    bool // to the end
}

func newStory(r *runner, documents []document) *story {
	m, meter := newModel(documents), newMeter()
	s := &story{
		console: r.console, place: r.place, fleet: r.fleet, node: r.node, fail: r.fail, options: &r.options,
		follower: newFollower(r.node, r.queue, r.console),
		model:    m, meter: meter, writer: &writer{node: r.node, model: m, meter: meter},
		measure: measureTime, every: lookEvery,
	}
	if r.options.Documents > 0 && r.options.Documents < usualDocuments {
		s.measure /= 4 // a short demo for a quick look
	}
	return s
}

// tell shows everything and returns errNotHeld when something does not hold.
func (s *story) tell(ctx context.Context) error {
	for _, part := range []func(context.Context) error{s.before, s.during, s.after, s.count} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	s.report.Seconds = round(time.Since(s.console.started).Seconds(), 1)
	s.report.judge()
	s.told = true
	if !s.report.OK {
		return fmt.Errorf("%w: %s", errNotHeld, strings.Join(s.report.Problems, "; "))
	}
	return nil
}

// publish prints the table, if the story came to its end.
func (s *story) publish() error {
	if !s.told {
		return nil
	}
	s.console.print(s.report.table())
	if !s.options.JSON {
		return nil
	}
	return cli.WriteJSON(s.console.out, s.report)
}

// close ends what runs in the background; its errors are told already.
func (s *story) close() {
	if s.load != nil {
		_ = s.load.end()
		s.load = nil
	}
}

// run changes what runs in the background.
func (s *story) run(ctx context.Context, at pace, searches []search) error {
	if err := s.pause(); err != nil {
		return err
	}
	parts := []part{func(ctx context.Context, stop <-chan struct{}) error { return s.writer.run(ctx, stop, at) }}
	for i := range searchers {
		one := &searcher{node: s.node, meter: s.meter, searches: searches, seed: uint64(i)}
		parts = append(parts, one.run)
	}
	s.load = startLoad(ctx, s.fail, parts...)
	return nil
}

// pause ends what runs in the background, and waits for it.
func (s *story) pause() error {
	if s.load == nil {
		return nil
	}
	l := s.load
	s.load = nil
	return l.end()
}

// until looks every now and then until something is done.
func (s *story) until(ctx context.Context, limit time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s: not within %s", what, limit))
	defer cancel()
	for {
		s.follower.look(ctx)
		if ok, err := done(); ok || err != nil {
			return err
		}
		if !wait(ctx, s.every) {
			return errors.Join(context.Cause(ctx), s.follower.err)
		}
	}
}

// before fills the shard and measures while the data node merges by itself.
func (s *story) before(ctx context.Context) error {
	s.console.title("before: the data node does everything itself, merges too")
	if err := s.node.create(ctx); err != nil {
		return err
	}
	var err error
	if s.traffic, err = traffic(s.model.documents); err != nil {
		return err
	}
	if err := s.fill(ctx); err != nil {
		return err
	}
	s.meter.begin()
	s.console.say("demo", "measures for %s: updates, deletes and new documents go on, %d searches per second", s.measure, searchers*int(time.Second/searchEvery))
	if err := s.measured(ctx); err != nil {
		return err
	}
	s.report.Before, err = s.phase(ctx)
	return err
}

// fill writes the documents that most of the story is about, and freezes some.
func (s *story) fill(ctx context.Context) error {
	s.console.say("data node", "indexes; one in %d documents is frozen: it will not be touched again", frozenShare)
	if err := s.run(ctx, filling, s.traffic); err != nil {
		return err
	}
	began, goal := time.Now(), len(s.model.documents)-len(s.model.documents)/reserve
	err := s.until(ctx, 10*time.Minute, "write the documents", func() (bool, error) {
		written := int(s.writer.fresh.Load())
		if written > 0 {
			s.console.show("data node", "%s documents, %.0f per second", cli.Thousands(written), float64(written)/time.Since(began).Seconds())
		}
		late := s.options.Documents == 0 && time.Since(began) > fillTime && written >= usualDocuments
		return written >= goal || late, nil
	})
	if err = errors.Join(err, s.pause()); err != nil {
		return err
	}
	s.model.freezing = false
	s.console.say("data node", "has %s documents after %s updates and %s deletes; %s of them are frozen",
		cli.Thousands(s.model.live()), cli.Thousands(s.model.updated), cli.Thousands(s.model.deleted), cli.Thousands(s.model.frozen))
	return s.baseline(ctx)
}

// baseline asks for the hits that must stay the same, and searches for them
// all the time from then on.
func (s *story) baseline(ctx context.Context) error {
	var err error
	if s.battery, err = newBattery(s.model.documents); err != nil {
		return err
	}
	if err := s.node.refresh(ctx); err != nil {
		return err
	}
	answers, err := s.battery.ask(ctx, s.node)
	if err != nil {
		return err
	}
	s.battery.expect(answers)
	hits := 0
	for _, a := range answers {
		hits += int(a.Total)
	}
	if hits == 0 {
		return errors.New("no query finds anything: the corpus is too small")
	}
	s.console.say("searches", "%d queries for frozen documents find %s: they must always find the same (%s)",
		len(s.battery), cli.Count(hits, "hit"), s.battery.kinds())
	return s.run(ctx, churn, append(append([]search{}, s.traffic...), s.battery...))
}

// measured waits for the time of a phase.
func (s *story) measured(ctx context.Context) error {
	until := time.Now().Add(s.measure)
	return s.until(ctx, time.Hour, "measure", func() (bool, error) {
		w := s.meter.now()
		if len(w.bulks) > 0 {
			s.console.show("data node", "%.0f documents per second, search p50 %.1f ms, p99 %.1f ms",
				w.rate(), millis(w.searches.percentile(50)), millis(w.searches.percentile(99)))
		}
		return !time.Now().Before(until), nil
	})
}

// phase is what was measured since the window began.
func (s *story) phase(ctx context.Context) (Phase, error) {
	w := s.meter.end()
	now, err := s.node.stats(ctx)
	if err != nil {
		return Phase{}, err
	}
	p := newPhase(w, now)
	s.console.say("data node", "%s documents/s, search p50 %.1f ms, p99 %.1f ms; %s, %s",
		cli.Thousands(int(p.DocumentsPerSecond)), p.SearchP50, p.SearchP99, cli.Count(p.Segments, "segment"), cli.Size(p.Bytes))
	return p, nil
}

// after measures once more, with the merges done.
func (s *story) after(ctx context.Context) error {
	s.console.title("after: the same writes and searches on merged segments")
	s.meter.begin()
	if err := s.measured(ctx); err != nil {
		return err
	}
	var err error
	s.report.After, err = s.phase(ctx)
	return err
}

// count stops everything and compares it with what it must be.
func (s *story) count(ctx context.Context) error {
	s.console.title("count: is everything there, and nothing twice?")
	if err := s.pause(); err != nil {
		return err
	}
	if err := s.last(ctx); err != nil {
		return err
	}
	answers, err := s.battery.ask(ctx, s.node)
	if err != nil {
		return err
	}
	differ := s.battery.compare(answers)
	s.report.Hits = Hits{Queries: len(s.battery), Equal: len(differ) == 0, Differ: append([]string{}, differ...)}
	s.console.say("searches", "%d queries asked again: %s", len(s.battery), s.report.hits())
	if s.report.Documents, err = verify(ctx, s.node, s.model, func(read int) {
		s.console.show("demo", "reads every document back: %s", cli.Thousands(read))
	}); err != nil {
		return err
	}
	d := s.report.Documents
	s.console.say("demo", "read all %s documents back, each with its last update: %d lost, %d came back", cli.Thousands(d.Live), d.Lost, d.CameBack)
	sum := s.meter.sum()
	s.report.Searches = Searches{Answered: len(sum.searches), Failed: sum.failed, Wrong: sum.wrong}
	if sum.lastError != nil {
		s.console.say("searches", "%v", sum.lastError)
	}
	s.report.Merges = s.follower.sum()
	return nil
}

// last has the offline node that is left merge what has gathered, unless
// everything took so long that this would be too much.
func (s *story) last(ctx context.Context) error {
	quiet := func() error {
		return s.until(ctx, mergeLimit, "end the last merges", func() (bool, error) { return s.follower.busy() == 0, nil })
	}
	if err := quiet(); err != nil {
		return err
	}
	if time.Since(s.console.started) < lateTime {
		planned, err := s.node.forceMerge(ctx, 1)
		if err != nil {
			return err
		}
		for _, m := range planned {
			s.console.say("data node", "plans %s: %s, %s, into one", short(m.ID), cli.Count(len(m.Inputs), "segment"), cli.Size(m.Bytes))
			s.follower.tell(m)
		}
		if err := quiet(); err != nil {
			return err
		}
	}
	if err := s.node.refresh(ctx); err != nil {
		return err
	}
	now, err := s.node.stats(ctx)
	if err != nil {
		return err
	}
	s.report.After.Segments, s.report.After.Bytes = now.Segments, now.Bytes
	s.console.say("data node", "has %s, %s", cli.Count(now.Segments, "segment"), cli.Size(now.Bytes))
	return nil
}
