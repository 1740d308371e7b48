package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// cancelled is what --json prints for each task.
type cancelled struct {
	ID      string    `json:"task_id"`
	Outcome string    `json:"outcome"` // cancelled, requested, ended, failed, or not_done
	Error   string    `json:"error,omitempty"`
	Task    *cli.Task `json:"task,omitempty"`
}

func tasksCancel(std *cli.IO) *cobra.Command {
	var json, unknown bool
	cmd := &cobra.Command{
		Use:   "cancel ID…",
		Short: "Ask for tasks to end",
		Long: `Ask for tasks to end. One that does not run is CANCELLED at once, and its
children with it. One that runs is told with its next beat, a few seconds later:
unless it succeeds first, it ends CANCELLED; follow it by tasks watch. One that
has ended stays as it is, and a type may decline to be cancelled.

An id that nothing is known of is refused, in case it is misspelled: with
--unknown it is CANCELLED, too, and will not run when its record is found.`,
		Args: needIDs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			return withClient(cmd, std, func(ctx context.Context, s *cli.Session, c *client.Client) error {
				if err := s.Ping(ctx); err != nil { // the event must get out
					return err
				}
				code := cli.Done
				for _, id := range ids {
					answer := cancel(ctx, c, id, unknown)
					code = code.Worse(answer.code())
					if err := answer.print(std, json); err != nil {
						return err
					}
				}
				return cli.End(code)
			})
		},
	}
	cmd.Flags().BoolVar(&unknown, "unknown", false, "cancel ids that nothing is known of, too")
	jsonFlag(cmd, &json, "what became of each")
	return cmd
}

func cancel(ctx context.Context, c *client.Client, id string, unknown bool) cancelled {
	failed := func(text string) cancelled { return cancelled{ID: id, Outcome: "failed", Error: text} }
	if !unknown {
		_, err := c.State(ctx, id)
		switch {
		case errors.Is(err, client.ErrNoTask):
			return failed(nothingKnown(ctx, c, id, false))
		case err != nil:
			return cancelled{ID: id, Outcome: "not_done", Error: cli.Explain(err)}
		}
	}
	state, err := c.Cancel(ctx, id)
	switch {
	case errors.Is(err, task.ErrInvalid), errors.Is(err, claims.ErrCold):
		return failed(cli.Explain(err))
	case err != nil:
		return cancelled{ID: id, Outcome: "not_done", Error: cli.Explain(err)}
	}
	t := cli.TaskOf(state)
	outcome := "requested"
	switch {
	case t.Status == task.Cancelled:
		outcome = "cancelled"
	case t.Status.Terminal():
		outcome = "ended"
	}
	return cancelled{ID: id, Outcome: outcome, Task: &t}
}

func (a *cancelled) code() cli.Code {
	switch a.Outcome {
	case "failed":
		return cli.Failed
	case "not_done":
		return cli.NotDone
	}
	return cli.Done
}

func (a *cancelled) print(std *cli.IO, json bool) error {
	if json {
		return cli.WriteJSON(std.Out, a)
	}
	switch a.Outcome {
	case "failed", "not_done":
		fmt.Fprintf(std.Err, "offlinectl: %s: %s\n", cli.Clean(a.ID), cli.CleanLines(a.Error))
	case "cancelled":
		fmt.Fprintf(std.Out, "%s  CANCELLED\n", a.ID)
	case "requested":
		fmt.Fprintf(std.Out, "%s  is told to stop\n", a.ID)
	default:
		fmt.Fprintf(std.Out, "%s  has ended already: %s\n", a.ID, a.Task.Status)
	}
	return nil
}
