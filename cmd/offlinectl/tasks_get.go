package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func tasksGet(std *cli.IO) *cobra.Command {
	var json, search bool
	cmd := &cobra.Command{
		Use:   "get ID…",
		Short: "Show all that is known of tasks",
		Long: `Show all that is known of tasks: where they stand, on which node, how far they
are, and how they ended. Redis keeps that for a day after the end; with --search
the results topic is read, too, which has outcomes for longer.`,
		Args: needIDs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			return withClient(cmd, std, func(ctx context.Context, s *cli.Session, c *client.Client) error {
				found, err := find(ctx, s, c, ids, search)
				if err != nil {
					return err
				}
				return show(ctx, std, c, ids, found, json, search)
			})
		},
	}
	cmd.Flags().BoolVar(&search, "search", false, "look on the results topic for what Redis does not know")
	jsonFlag(cmd, &json, "tasks")
	return cmd
}

// withClient runs f with a connected client.
func withClient(cmd *cobra.Command, std *cli.IO, f func(ctx context.Context, s *cli.Session, c *client.Client) error) error {
	ctx := cmd.Context()
	session, err := std.Open(cmd)
	if err != nil {
		return err
	}
	defer session.Close(ctx)
	c, err := session.Client(ctx)
	if err != nil {
		return err
	}
	return f(ctx, session, c)
}

// find reads the states of tasks, and their outcomes where there is none.
func find(ctx context.Context, s *cli.Session, c *client.Client, ids []string, search bool) (map[string]cli.Task, error) {
	states, err := c.States(ctx, ids)
	if err != nil {
		return nil, err
	}
	found, missing := map[string]cli.Task{}, map[string]bool{}
	for i, state := range states {
		if state == nil {
			missing[ids[i]] = true
			continue
		}
		found[ids[i]] = cli.TaskOf(state)
	}
	if len(missing) == 0 || !search {
		return found, nil
	}
	if err := s.Ping(ctx); err != nil {
		return nil, err
	}
	return found, kafkaqueue.ReadResults(ctx, s.Kafka, time.Time{}, func(e task.Event) error {
		if before, seen := found[e.TaskID]; missing[e.TaskID] && (!seen || before.Replay < e.Replay) {
			found[e.TaskID] = cli.TaskOfEvent(&e)
		}
		return nil
	})
}

// show prints tasks in the order of their ids.
func show(ctx context.Context, std *cli.IO, c *client.Client, ids []string, found map[string]cli.Task, json, searched bool) error {
	code := cli.Done
	printed := false
	for _, id := range ids {
		t, ok := found[id]
		switch {
		case !ok:
			code = code.Worse(cli.Failed)
			fmt.Fprintf(std.Err, "offlinectl: %s: %s\n", cli.Clean(id), nothingKnown(ctx, c, id, searched))
			continue
		case json:
			if err := cli.WriteJSON(std.Out, t); err != nil {
				return err
			}
		default:
			if printed {
				fmt.Fprintln(std.Out)
			}
			t.Print(std)
		}
		printed = true
	}
	return cli.End(code)
}

// nothingKnown says why a task may be missing.
func nothingKnown(ctx context.Context, c *client.Client, id string, searched bool) string {
	if err := task.ValidateID(id); err != nil {
		return err.Error()
	}
	text := "no such task: never submitted, or it ended long ago"
	if !searched {
		text += " (--search looks on the results topic)"
	}
	forgetful, err := c.Forgetful(ctx, id)
	if err == nil && forgetful {
		text = "nothing is known: Redis was emptied, restarted or moved, and no node has read the outcomes back yet.\n" +
			"  A running node does that within a minute."
	}
	return text
}
