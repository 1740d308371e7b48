package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// watch is what is watched, and how it is shown.
type watch struct {
	std      *cli.IO
	json     bool
	typ      string
	statuses []string
	count    int
	code     cli.Code
}

func tasksWatch(std *cli.IO) *cobra.Command {
	w := watch{std: std}
	cmd := &cobra.Command{
		Use:   "watch [ID…]",
		Short: "Follow tasks until they end, or all completion events",
		Long: `Follow tasks until they have ended: a line for each change, and a progress bar
on a terminal. The exit status is that of their outcomes.

Without an ID it shows completion events of all tasks from now on, until Ctrl-C
or --count of them. It reads them as a consumer group of its own; an event may
come twice.`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if len(ids) > 0 && (w.typ != "" || len(w.statuses) > 0 || w.count != 0) {
				return cli.Usage("--type, --status and --count are for watching all tasks: leave out the ids")
			}
			if len(ids) == 0 {
				return w.all(cmd)
			}
			return withClient(cmd, std, func(ctx context.Context, _ *cli.Session, c *client.Client) error {
				return w.some(ctx, c, ids, cli.Given(cmd))
			})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&w.typ, "type", "", "only this task `type`")
	f.StringSliceVar(&w.statuses, "status", nil, "only these `outcomes`: SUCCESS, FAILED, CANCELLED")
	f.IntVar(&w.count, "count", 0, "end after this `number` of events; 0: never")
	jsonFlag(cmd, &w.json, "states or events")
	completeFlag(cmd, "type", completeTypes(std))
	completeFlag(cmd, "status", cli.CompleteList(cli.Statuses[3:]))
	return cmd
}

// some follows the tasks with these ids.
func (w *watch) some(ctx context.Context, c *client.Client, ids []string, given string) error {
	states, err := c.States(ctx, ids)
	if err != nil {
		return err
	}
	awaited := make([]client.Awaited, 0, len(ids))
	for i, s := range states {
		if s == nil {
			w.code = w.code.Worse(cli.Failed)
			fmt.Fprintf(w.std.Err, "offlinectl: %s: %s\n", cli.Clean(ids[i]), nothingKnown(ctx, c, ids[i], false))
			continue
		}
		awaited = append(awaited, client.Awaited{ID: ids[i], Replay: s.Replay})
	}
	stands := make([]string, len(awaited))
	following, err := cli.Follow(ctx, w.std, c, awaited, func(i int, t *cli.Task) string {
		if t.Status.Terminal() {
			w.code = w.code.Worse(t.Code())
		}
		now := fmt.Sprint(t.Status, t.Attempt, t.Node, t.CancelRequested)
		if now == stands[i] && !w.json {
			return "" // only its progress changed
		}
		stands[i] = now
		return w.line(t)
	})
	if left := following.Left(); err != nil && len(left) > 0 {
		w.code = w.code.Worse(cli.Unknown)
		fmt.Fprintf(w.std.Err, "offlinectl: stopped watching: %s\n", goOn(len(left)))
		var open []string
		for _, i := range left {
			open = append(open, awaited[i].ID)
		}
		w.std.Advise(open, "", given)
	}
	return cli.End(w.code)
}

func goOn(n int) string {
	if n == 1 {
		return "the task goes on"
	}
	return cli.Count(n, "task") + " go on"
}

// all shows completion events.
func (w *watch) all(cmd *cobra.Command) error {
	ctx := cmd.Context()
	wanted, err := w.outcomes()
	if err != nil {
		return err
	}
	session, err := w.std.Open(cmd)
	if err != nil {
		return err
	}
	if err := session.Ping(ctx); err != nil {
		return err
	}
	listener, err := kafkaqueue.NewListener(session.Kafka, kafkaqueue.ListenerConfig{
		Group: "offlinectl.watch." + uuid.NewString(), Latest: true,
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w.std.Err, "Watching completion events. Ctrl-C ends.")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	shown := 0
	var failure error
	err = listener.Run(ctx, func(_ context.Context, e task.Event) error {
		if ctx.Err() == nil && (w.typ == "" || e.Type == w.typ) && (len(wanted) == 0 || slices.Contains(wanted, e.Status)) {
			t := cli.TaskOfEvent(&e)
			_, failure = fmt.Fprintln(w.std.Out, w.line(&t))
			if shown++; shown == w.count || failure != nil {
				stop()
			}
		}
		return nil
	})
	return errors.Join(err, failure)
}

func (w *watch) outcomes() (wanted []task.Status, err error) {
	for _, name := range w.statuses {
		status, err := task.ParseStatus(strings.ToUpper(strings.TrimSpace(name)))
		if err != nil || !status.Terminal() {
			return nil, cli.Usage("--status %s: an outcome is SUCCESS, FAILED or CANCELLED", name)
		}
		wanted = append(wanted, status)
	}
	if w.count < 0 {
		return nil, cli.Usage("--count %d: 1 or more, or 0 for all", w.count)
	}
	return wanted, nil
}

// line is a task's state on a line that fits the terminal.
func (w *watch) line(t *cli.Task) string {
	if w.json {
		return cli.JSON(t)
	}
	parts := []string{t.ChangedAt.Format(time.TimeOnly), fmt.Sprintf("%-10s", t.Status), t.ID, t.Type, t.Node}
	if t.Status.Terminal() && t.Took(t.CompletedAt) > 0 {
		parts = append(parts, cli.Ago(t.Took(t.CompletedAt)))
	}
	parts = append(parts, t.Says())
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	line := cli.Clean(strings.Join(parts, "  "))
	if w.std.Width > 0 {
		line = cli.Cut(line, w.std.Width)
	}
	return line
}
