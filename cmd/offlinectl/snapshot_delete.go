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

// deleted is what --json prints.
type deleted struct {
	Snapshot string `json:"snapshot"`
	Freed    int64  `json:"freed"` // bytes in the repository
}

func snapshotDelete(std *cli.IO) *cobra.Command {
	var repository, json bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a snapshot",
		Long: `Delete a snapshot. From the repository the files go with it that no other
snapshot there needs; in the store they are left to garbage collection.

One that is being made is refused: cancel its task first.`,
		Args: needName,
		RunE: func(cmd *cobra.Command, names []string) error {
			return withSnapshots(cmd, std, repository, func(ctx context.Context, s *cli.Session, home remotestore.Store) error {
				v, err := deleteSnapshot(ctx, s, home, names[0], repository, cli.Given(cmd))
				switch {
				case err != nil:
					return notThere(err)
				case json:
					return cli.WriteJSON(std.Out, v)
				case repository:
					fmt.Fprintf(std.Out, "%s is deleted, and %s with it\n", v.Snapshot, cli.Size(v.Freed))
				default:
					fmt.Fprintf(std.Out, "%s is deleted\n", v.Snapshot)
				}
				return nil
			})
		},
	}
	repositoryFlag(cmd, &repository)
	jsonFlag(cmd, &json, "what was deleted")
	return cmd
}

// deleteSnapshot deletes a snapshot; given are the settings on the command line.
func deleteSnapshot(ctx context.Context, s *cli.Session, home remotestore.Store, name string, repository bool, given string) (v deleted, err error) {
	v.Snapshot = name
	if err := checkDelete(ctx, s, home, name, repository, given); err != nil {
		return v, err
	}
	if !repository {
		return v, snapshot.Delete(ctx, home, name)
	}
	store, err := openStore(ctx, s, false)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, closeStore(store)) }()
	v.Freed, err = snapshot.DeleteCopy(ctx, home, store, name)
	return v, err
}

// checkDelete refuses what is not there, and what is being made.
func checkDelete(ctx context.Context, s *cli.Session, home remotestore.Store, name string, repository bool, given string) error {
	d, err := snapshot.Get(ctx, home, name)
	switch {
	case errors.Is(err, shard.ErrNotFound):
		return checkLeftovers(ctx, home, name, repository)
	case errors.Is(err, shard.ErrCorrupt), errors.Is(err, shard.ErrFormat): // to be deleted all the more
		return nil
	case err != nil:
		return err
	case d.Complete():
		return nil
	}
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	state, err := c.State(ctx, d.Task)
	switch {
	case errors.Is(err, client.ErrNoTask):
		return nil
	case err != nil:
		return err
	case !state.Status.Terminal():
		return &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf(
			"%s is being made: cancel its task first, and delete it when that has ended\n  offlinectl%s tasks cancel %s", name, given, d.Task)}
	}
	return nil
}

// checkLeftovers looks whether a deletion that was cut short has left anything.
func checkLeftovers(ctx context.Context, home remotestore.Store, name string, repository bool) error {
	all, err := snapshot.List(ctx, home)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l.Snapshot == name {
			return nil
		}
	}
	return noSuch(name, repository)
}
