package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Bounds of a run.
const (
	mostTasks  = 10_000_000 // each takes some 150 bytes here
	mostAtOnce = 64         // batches on their way to Kafka
	unknownFor = time.Second
	// skew is how far the clocks of this machine and of the publishers of
	// events may be apart. Events of others are cheap to skip.
	skew = 5 * time.Minute
	// tail is how long to listen on after the last outcome: a second one would
	// come by then from a node that was as fast.
	tail = 3 * time.Second
)

// verification is one run of verify.
type verification struct {
	std      *cli.IO
	json     bool
	rate     float64
	duration cli.Duration
	tasks    int
	work     cli.Duration
	failing  float64
	wait     cli.Duration
	late     cli.Duration

	id      string
	began   time.Time
	session *cli.Session
	client  *client.Client
	ledger  *ledger
	stopped bool // by Ctrl-C
}

func verify(std *cli.IO) *cobra.Command {
	v := verification{
		std: std, rate: 10, duration: cli.Duration(time.Minute), work: cli.Duration(100 * time.Millisecond),
		wait: cli.Duration(2 * time.Minute), late: cli.Duration(30 * time.Second),
	}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Publish tasks and judge their outcomes while you break things",
		Long: `Publish tasks of the type probe and hold the cluster to its promises, while you
kill nodes and servers: no task that Kafka has accepted is lost, and none has two
outcomes. It listens to completion events from before the first task on, and
says at once what must not happen.

  accepted      Kafka has acknowledged the task
  lost          accepted, and no outcome by the end of --wait
  two outcomes  terminal events of one task that differ
  stale         one of them is of an older run than an event before it
  repeated      the same event once more: allowed
  late          the outcome came later than --late after the acknowledgement
  unknown       Kafka never answered whether it has the task

Ctrl-C stops publishing and waits for what is outstanding; the second one ends.
The exit status is 0 only if tasks were accepted, none is lost and none has two
outcomes.`,
		Example: `  offlinectl verify --rate 50 --duration 10m
  offlinectl verify --tasks 1000 --work 2s --failing 0.1 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.check(); err != nil {
				return err
			}
			return withClient(cmd, std, func(ctx context.Context, s *cli.Session, c *client.Client) error {
				v.session, v.client = s, c
				return v.run(ctx)
			})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Float64Var(&v.rate, "rate", v.rate, "tasks per `second`")
	f.Var(&v.duration, "duration", "how long to publish")
	f.IntVar(&v.tasks, "tasks", 0, "publish this `number` of tasks, however long it takes")
	f.Var(&v.work, "work", "how long each task runs")
	f.Float64Var(&v.failing, "failing", 0, "`share` of tasks whose first attempt fails, 0 to 1")
	f.Var(&v.wait, "wait", "how long outcomes may take after the last task was published")
	f.Var(&v.late, "late", "an outcome is late this long after its task was accepted")
	f.BoolVar(&v.json, "json", false, "print what came of it as JSON, one object")
	for _, name := range []string{"rate", "duration", "tasks", "work", "failing", "wait", "late"} {
		completeFlag(cmd, name, cobra.NoFileCompletions)
	}
	return cmd
}

func (v *verification) check() error {
	switch {
	case v.rate <= 0 || v.rate > 100_000:
		return cli.Usage("--rate %g: more than 0 and at most 100000 tasks per second", v.rate)
	case v.tasks < 0 || v.tasks > mostTasks:
		return cli.Usage("--tasks %d: 1 to %d, or 0 for as many as --duration takes", v.tasks, mostTasks)
	case v.tasks == 0 && v.duration <= 0:
		return cli.Usage("--duration 0: say how long to publish, or how many by --tasks")
	case v.tasks == 0 && v.rate*time.Duration(v.duration).Seconds() > mostTasks:
		return cli.Usage("--rate %g for %s are more than %d tasks", v.rate, time.Duration(v.duration), mostTasks)
	case v.failing < 0 || v.failing > 1:
		return cli.Usage("--failing %g: a share is 0 to 1", v.failing)
	}
	return nil
}

// run publishes, listens and judges.
func (v *verification) run(ctx context.Context) error {
	if err := v.session.Ping(ctx); err != nil {
		return err
	}
	v.id, v.began = "verify-"+strings.ToLower(rand.Text()[:8]), v.std.Now()
	v.ledger = newLedger(v.id, time.Duration(v.late))
	listener, err := v.client.Listener(kafkaqueue.ListenerConfig{Group: "offlinectl." + v.id, Since: v.began.Add(-skew), Repeats: true, Remember: 1})
	if err != nil {
		return err
	}
	if !v.json {
		fmt.Fprintf(v.std.Err, "Run %s. Ctrl-C stops publishing and waits for what is outstanding.\n", v.id)
	}

	life, end := context.WithCancel(context.WithoutCancel(ctx)) // Ctrl-C ends the publishing alone
	defer end()
	listening := make(chan error, 1)
	go func() {
		listening <- listener.Run(life, func(_ context.Context, e task.Event) error {
			v.ledger.heard(&e, v.std.Now())
			return nil
		})
	}()
	p := publisher{verification: v, life: life, free: make(chan struct{}, mostAtOnce)}
	published := make(chan struct{})
	go func() {
		defer close(published)
		p.pace(ctx)
	}()
	v.watch(ctx, published)
	end()
	p.batches.Wait()
	if err := <-listening; err != nil {
		return err
	}
	return v.report(context.WithoutCancel(ctx))
}

// watch shows how it goes until every task has its outcome, or the time for that is over.
func (v *verification) watch(ctx context.Context, published <-chan struct{}) {
	progress := cli.NewProgress(v.std)
	defer progress.Clear()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var ended, settled time.Time
	for stop := ctx.Done(); ; {
		select {
		case <-stop:
			stop, v.stopped = nil, true
			progress.Clear()
			fmt.Fprintln(v.std.Err, "offlinectl: no more tasks; waiting for what is outstanding. Ctrl-C once more ends.")
		case <-published:
			published, ended = nil, v.std.Now()
		case <-tick.C:
		}
		for _, says := range v.ledger.violations() {
			progress.Clear()
			fmt.Fprintf(v.std.Err, "offlinectl: %s\n", cli.Clean(says))
		}
		now := v.std.Now()
		open := v.ledger.tally()
		progress.Show(open.line(now.Sub(v.began)))
		switch {
		case open.Outstanding > 0:
			settled = time.Time{}
		case settled.IsZero():
			settled = now
		}
		quiet := !settled.IsZero() && now.Sub(settled) >= tail
		if !ended.IsZero() && (quiet || now.Sub(ended) >= time.Duration(v.wait)) {
			return
		}
	}
}
