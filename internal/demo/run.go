package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
)

// ErrInterrupted ends a demo that was stopped. Nothing of it is left.
var ErrInterrupted = errors.New("interrupted")

// Run shows the whole story. It returns an error when something of it did not
// hold or could not be shown, and [ErrInterrupted] when ctx ended first or a
// signal came: Ctrl-C, SIGTERM, a closed terminal or pipe.
func Run(ctx context.Context, o Options) error {
	if o.Environ == nil {
		o.Environ = os.Environ() //nolint:forbidigo // it is passed on to the programs
	}
	if err := o.validate(); err != nil {
		return err
	}
	ctx, stop := signals(ctx)
	defer stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := &runner{options: o, console: newConsole(o.Out, o.Columns), fail: fail}
	err := r.run(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // why everything else failed
	}
	fail(err)
	err = errors.Join(err, r.clearUp(ctx, err))
	if r.story != nil {
		err = errors.Join(err, r.story.publish())
	}
	return err
}

// signals ends the context at the first one, or when its parent ends. Later
// ones are ignored: what is left to do then takes seconds.
func signals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	got := make(chan os.Signal, 1)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		select {
		case <-got:
		case <-parent.Done():
		case <-ctx.Done():
		}
		cancel(ErrInterrupted)
	}()
	return ctx, func() {
		signal.Stop(got)
		cancel(nil)
	}
}

// runner has what one demo started.
type runner struct {
	options Options
	console *console
	fail    context.CancelCauseFunc

	dir   string
	place *place
	fleet *fleet
	node  *dataNode
	queue *client.Client
	story *story
}

func (r *runner) run(ctx context.Context) (err error) {
	if r.dir, err = makeDir(); err != nil {
		return err
	}
	r.console.say("demo", "%s; data and logs in %s", r.where(), r.dir)
	var l library
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		l, err = r.corpus().read(inner)
		return err
	})
	group.Go(func() error { return r.start(ctx, inner) })
	if err := group.Wait(); err != nil {
		return err
	}
	r.console.say("corpus", "%s from %s of %s", cli.Count(len(l.documents), "document"), cli.Count(l.files, "file"), l.from)
	if len(l.documents) < leastDocuments {
		return fmt.Errorf("the corpus is too small: the demo needs %s documents at least", cli.Thousands(leastDocuments))
	}
	r.story = newStory(r, l.documents)
	return r.story.tell(ctx)
}

// maxDocuments bounds the corpus where nobody said how many.
const maxDocuments = 120_000

// corpus has some documents more than are written at first.
func (r *runner) corpus() corpus {
	limit := maxDocuments
	if r.options.Documents > 0 {
		limit = r.options.Documents + max(r.options.Documents/reserve, 1)
	}
	return corpus{path: r.options.Corpus, limit: limit}
}

func (r *runner) where() string {
	return fmt.Sprintf("Kafka: %s, Redis: %s, store: %s",
		cmp.Or(r.options.Kafka, "embedded"), cmp.Or(r.options.Redis, "embedded"), cmp.Or(r.options.S3, "a folder"))
}

// start starts servers and nodes; starting bounds that alone.
func (r *runner) start(ctx, starting context.Context) error {
	with := r.options.programs
	if with.offlineNode == "" {
		var err error
		building := func() {
			r.console.say("demo", "builds offline-node and data-node first: they are not side by side here")
		}
		if with, err = findPrograms(starting, r.dir, building); err != nil {
			return err
		}
	}
	var err error
	if r.place, err = startPlace(starting, r.options, r.dir, with.offlineNode); err != nil {
		return err
	}
	if r.queue, err = r.place.reach(starting); err != nil {
		return err
	}
	if r.fleet, r.node, err = startFleet(starting, r.place, with); err != nil {
		return err
	}
	r.fleet.watch(ctx, r.fail)
	r.console.say("demo", "started %s; offline nodes at the lowest CPU priority, as if on other machines", r.fleet)
	return nil
}

// patience is how long a process may take to stop by itself.
const patience = 5 * time.Second

// clearUp stops everything and removes what is left, however far the demo came.
func (r *runner) clearUp(ctx context.Context, failure error) error {
	r.console.done()
	orderly := failure == nil || r.options.real() // on real servers nodes leave their groups first
	if r.story != nil {
		r.story.close()
	}
	if r.queue != nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		_ = r.queue.Close(limited) // nothing is published by it
		cancel()
	}
	r.stopFleet(orderly)
	switch {
	case errors.Is(failure, ErrInterrupted):
		r.console.say("demo", "interrupted: stops everything and removes it")
	case failure != nil && !errors.Is(failure, errNotHeld):
		r.showLogs()
	}
	err := r.removeRemote(ctx)
	if r.place != nil && r.place.broker != nil {
		r.place.broker.kill() // it keeps nothing
	}
	if r.dir == "" {
		return err
	}
	if r.options.Keep {
		r.console.say("demo", "kept %s", r.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

func (r *runner) stopFleet(orderly bool) {
	if r.fleet == nil {
		return
	}
	var stopping errgroup.Group
	for _, p := range r.fleet.all() {
		if p == r.place.broker {
			continue
		}
		stopping.Go(func() error {
			if orderly {
				p.stop(patience)
			} else {
				p.kill()
			}
			return nil
		})
	}
	_ = stopping.Wait() // nothing returns an error
}

// showLogs prints the ends of the logs: what failed may be told there. That of
// a process that ended is in the error.
func (r *runner) showLogs() {
	if r.fleet == nil {
		return
	}
	for _, p := range r.fleet.all() {
		if text := p.tail(6); text != "" && p.accident() == nil {
			r.console.print(fmt.Sprintf("\nthe end of %s:\n%s\n", p.log, text))
		}
	}
}

func (r *runner) removeRemote(ctx context.Context) error {
	if r.queue == nil || !r.options.real() { // nothing was made yet
		return nil
	}
	if r.options.Keep {
		r.console.say("demo", "kept what is under %s on the servers", r.place.prefix)
		return nil
	}
	r.console.say("demo", "removes topics, keys and objects under %s", r.place.prefix)
	return r.place.sweep(ctx, r.options)
}
