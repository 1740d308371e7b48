package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
)

// snapshotState is where a snapshot stands, as --json prints it.
type snapshotState struct {
	Snapshot   string       `json:"snapshot"`
	Repository bool         `json:"repository,omitempty"`
	Complete   bool         `json:"complete"`
	Task       *cli.Task    `json:"task,omitempty"` // left out: nothing is known of it any more
	Shards     []shardState `json:"shards"`
}

type shardState struct {
	Shard string    `json:"shard"`
	Task  *cli.Task `json:"task,omitempty"`
}

func snapshotStatus(std *cli.IO) *cobra.Command {
	var repository, json bool
	cmd := &cobra.Command{
		Use:   "status NAME",
		Short: "Show how far a snapshot is",
		Long: `Show how far a snapshot is, shard by shard, or how its task ended. It is known
once the task has begun; before that, tasks get tells. A failed one goes on by
dead-letters redrive, with what it has copied, or is deleted.`,
		Args: needName,
		RunE: func(cmd *cobra.Command, names []string) error {
			return withSnapshots(cmd, std, repository, func(ctx context.Context, s *cli.Session, store remotestore.Store) error {
				d, err := snapshot.Get(ctx, store, names[0])
				if errors.Is(err, shard.ErrNotFound) {
					return noSuch(names[0], repository)
				}
				if err != nil {
					return notThere(err)
				}
				c, err := s.Client(ctx)
				if err != nil {
					return err
				}
				state, err := stateOf(ctx, c, d)
				if err != nil {
					return err
				}
				if json {
					return cli.WriteJSON(std.Out, state)
				}
				return state.print(std, d)
			})
		},
	}
	repositoryFlag(cmd, &repository)
	jsonFlag(cmd, &json, "the snapshot and its tasks")
	return cmd
}

// stateOf asks for the task of a snapshot and those of its shards.
func stateOf(ctx context.Context, c *client.Client, d snapshot.Document) (*snapshotState, error) {
	ids := []string{d.Task}
	for _, p := range d.Shards {
		ids = append(ids, snapshot.ChildTask(d.Task, p.Shard))
	}
	states, err := c.States(ctx, ids)
	if err != nil {
		return nil, err
	}
	taskAt := func(i int) *cli.Task {
		if states[i] == nil {
			return nil
		}
		t := cli.TaskOf(states[i])
		return &t
	}
	v := &snapshotState{Snapshot: d.Snapshot, Repository: d.Repository, Complete: d.Complete(), Task: taskAt(0)}
	for i, p := range d.Shards {
		v.Shards = append(v.Shards, shardState{p.Shard, taskAt(i + 1)})
	}
	return v, nil
}

func (v *snapshotState) print(std *cli.IO, d snapshot.Document) error {
	p := cli.NewPrinter(std)
	p.Line("Snapshot", v.Snapshot+", "+place(v.Repository))
	p.Line("Status", v.says())
	p.Line("Task", d.Task)
	p.Time("Begun", d.BegunAt)
	p.Time("Ended", d.EndedAt)
	if v.Task != nil && !v.Complete {
		p.Text("Error", v.Task.Error)
	}
	fmt.Fprintln(std.Out)
	table := cli.NewTable(
		cli.Column{Title: "SHARD", Least: 20}, cli.Column{Title: "STATUS"}, cli.Column{Title: "DONE"}, cli.Column{Title: "MOVED", Spare: true},
		cli.Column{Title: "NODE", Least: 8, Spare: true}, cli.Column{Title: "NOTE", Least: 12, Spare: true},
	)
	for _, s := range v.Shards {
		row := []string{s.Shard, "", "", "", "", ""}
		switch {
		case s.Task != nil:
			done := s.Task.Fraction
			note := s.Task.Note
			if s.Task.Status.Terminal() {
				note = s.Task.Error
			}
			if s.Task.Code() == cli.Done {
				done = 1
			}
			row = []string{s.Shard, s.Task.Status.String(), fmt.Sprintf("%d%%", int(done*100)), sizeOf(s.Task.BytesMoved), s.Task.Node, note}
		case v.Complete:
			row[1], row[2] = "SUCCESS", "100%"
		}
		table.Row(row...)
	}
	return table.Write(std.Out, std.Width)
}

// says is where the snapshot stands on one line.
func (v *snapshotState) says() string {
	switch {
	case v.Complete:
		return "COMPLETE"
	case v.Task == nil:
		return "INCOMPLETE: nothing is known of its task any more"
	case v.Task.Status.Terminal():
		return "INCOMPLETE: its task ended " + v.Task.Status.String()
	}
	return fmt.Sprintf("%s, %d%%", v.Task.Status, int(v.done()*100))
}

// done is the mean of the shards.
func (v *snapshotState) done() float64 {
	sum := 0.0
	for _, s := range v.Shards {
		switch {
		case s.Task == nil:
		case s.Task.Code() == cli.Done:
			sum++
		default:
			sum += s.Task.Fraction
		}
	}
	return sum / float64(max(len(v.Shards), 1))
}
