package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// defaultLimit is how many rows a list has unless it is told.
const defaultLimit = 50

// listing is what a list of tasks is asked for.
type listing struct {
	typ      string
	statuses []string
	node     string
	older    cli.Duration
	younger  cli.Duration
	limit    int
	cursor   string
	json     bool
}

func tasksList(std *cli.IO) *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List tasks",
		Long: `List tasks, a page at a time and in no order between pages. ASSIGNED, ACTIVE and
FAILED ones are found through an index; for the others every task that Redis
knows is looked at, which takes some seconds for a million.

AGE is the time since the status last changed. When there is more, a last line
tells the cursor of the next page: with --json it is {"next_cursor": "…"}.`,
		Example: `  offlinectl tasks list --status ACTIVE,ASSIGNED --older-than 1h
  offlinectl tasks list --type image.resize --limit 0 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := l.filter()
			if err != nil {
				return err
			}
			return withClient(cmd, std, func(ctx context.Context, _ *cli.Session, c *client.Client) error {
				return l.run(ctx, std, c, filter)
			})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&l.typ, "type", "", "only this task `type`")
	f.StringSliceVar(&l.statuses, "status", nil, "only these `statuses`, separated by commas")
	f.StringVar(&l.node, "node", "", "only tasks that this `node` runs or last ran")
	f.Var(&l.older, "older-than", "only where nothing changed for so long")
	f.Var(&l.younger, "younger-than", "only what changed within this time")
	f.IntVar(&l.limit, "limit", defaultLimit, "this `number` at a time; 0: all")
	f.StringVar(&l.cursor, "cursor", "", "go on where an earlier list ended")
	jsonFlag(cmd, &l.json, "tasks")
	completeFlag(cmd, "type", completeTypes(std))
	completeFlag(cmd, "status", cli.CompleteList(cli.Statuses))
	completeFlag(cmd, "node", completeNodes(std))
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return cli.Usage("takes no arguments, not %q", strings.Join(args, " "))
	}
	return nil
}

func (l *listing) filter() (claims.Filter, error) {
	f := claims.Filter{Type: l.typ, Node: l.node, OlderThan: time.Duration(l.older), YoungerThan: time.Duration(l.younger)}
	for _, name := range l.statuses {
		status, err := task.ParseStatus(strings.ToUpper(strings.TrimSpace(name)))
		if err != nil {
			return f, cli.Usage("--status: %w", err)
		}
		f.Statuses = append(f.Statuses, status)
	}
	if l.limit < 0 {
		return f, cli.Usage("--limit %d: 1 or more, or 0 for all", l.limit)
	}
	return f, nil
}

// run prints a page, or all of them.
func (l *listing) run(ctx context.Context, std *cli.IO, c *client.Client, filter claims.Filter) error {
	p := pager{client: c, filter: filter}
	p.set(l.cursor)
	found := 0
	for first := true; first || l.limit == 0 && p.more(); first = false {
		states, err := p.next(ctx, l.limit)
		if err != nil {
			return err
		}
		found += len(states)
		if err := l.print(std, states); err != nil {
			return err
		}
	}
	switch {
	case p.more() && l.json:
		return cli.WriteJSON(std.Out, map[string]string{"next_cursor": p.cursor()})
	case p.more():
		fmt.Fprintf(std.Err, "There is more: add --cursor %s\n", p.cursor())
	case found == 0 && !l.json:
		fmt.Fprintln(std.Err, "No such tasks.")
	}
	return nil
}

// print writes one page, what changed last on top.
func (l *listing) print(std *cli.IO, states []*claims.State) error {
	tasks := make([]cli.Task, len(states))
	for i, s := range states {
		tasks[i] = cli.TaskOf(s)
	}
	slices.SortFunc(tasks, func(a, b cli.Task) int {
		if c := b.ChangedAt.Compare(a.ChangedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	if !l.json {
		return cli.TaskTable(tasks, std.Now()).Write(std.Out, std.Width)
	}
	for _, t := range tasks {
		if err := cli.WriteJSON(std.Out, t); err != nil {
			return err
		}
	}
	return nil
}
