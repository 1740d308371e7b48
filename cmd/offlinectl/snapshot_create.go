package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
)

func snapshotCreate(std *cli.IO) *cobra.Command {
	j := &job{std: std, types: snapshot.Types()}
	var repository bool
	cmd := &cobra.Command{
		Use:   "create NAME SHARD…",
		Short: "Keep shards as they are now",
		Long: `Keep shards as they are now, under a name. In the store that takes a moment for
shards of any size: their files stay where they are and are kept from garbage
collection. With --repository all files are copied to the second store, but for
those that an earlier snapshot brought there, and compared by their hashes.

The id of the task is printed once Kafka has it; snapshot status tells how far
it is, and tasks cancel ends it.`,
		Example: `  offlinectl snapshot create monday books/0 books/1 --wait
  offlinectl snapshot create monday books/0 books/1 --repository --wait --timeout 2h`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return cli.Usage("name a snapshot and the shards to keep")
			}
			return checkSnapshot(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			params := snapshot.Params{Snapshot: args[0], Shards: args[1:], Repository: repository}
			if err := errors.Join(params.Validate(), j.check()); err != nil {
				return cli.Usage("%w", err)
			}
			j.given = cli.Given(cmd)
			return withSnapshots(cmd, std, false, func(ctx context.Context, s *cli.Session, store remotestore.Store) error {
				if err := checkCreate(ctx, s, store, params); err != nil {
					return notThere(err)
				}
				return j.run(ctx, s, snapshot.NewTask(params.Snapshot), snapshot.Type, params)
			})
		},
	}
	cmd.Flags().SortFlags = false
	repositoryFlag(cmd, &repository)
	j.flags(cmd)
	return cmd
}

// checkCreate refuses at once what the task would find out later.
func checkCreate(ctx context.Context, s *cli.Session, store remotestore.Store, params snapshot.Params) (err error) {
	home := store
	if params.Repository {
		if home, err = openStore(ctx, s, true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeStore(home)) }()
	}
	_, err = snapshot.Get(ctx, home, params.Snapshot)
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w: choose another name, or delete it", params.Snapshot, snapshot.ErrExists)
	case !errors.Is(err, shard.ErrNotFound):
		return err
	}
	for _, name := range params.Shards {
		sh, err := shard.Open(store, name)
		if err != nil {
			return err
		}
		if _, err := sh.Newest(ctx); err != nil {
			return err
		}
	}
	return nil
}

func snapshotRestore(std *cli.IO) *cobra.Command {
	j := &job{std: std, types: snapshot.Types()}
	var params snapshot.RestoreParams
	cmd := &cobra.Command{
		Use:   "restore NAME [SHARD[=AS]…]",
		Short: "Bring shards back as they were",
		Long: `Bring shards back as a snapshot has them: all, or those that are named, each
where it was or, by SHARD=AS, as another shard. What comes back is a new
generation of the shard, which data nodes open by themselves.

A shard that has moved on since the snapshot is left as it is, for what was
written to it would be lost: restore it as another one, or lose that by --force.`,
		Example: `  offlinectl snapshot restore monday books/0=books-monday/0 --wait
  offlinectl snapshot restore monday --repository --force --wait`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usage("name a snapshot")
			}
			return checkSnapshot(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			params.Snapshot = args[0]
			for _, text := range args[1:] {
				target, err := snapshot.ParseTarget(text)
				if err != nil {
					return cli.Usage("%w", err)
				}
				params.Shards = append(params.Shards, target)
			}
			if err := errors.Join(params.Validate(), j.check()); err != nil {
				return cli.Usage("%w", err)
			}
			j.given = cli.Given(cmd)
			return withSnapshots(cmd, std, params.Repository, func(ctx context.Context, s *cli.Session, home remotestore.Store) error {
				if err := checkRestore(ctx, home, params); err != nil {
					return notThere(err)
				}
				return j.run(ctx, s, snapshot.NewRestoreTask(params.Snapshot), snapshot.RestoreType, params)
			})
		},
	}
	cmd.Flags().SortFlags = false
	repositoryFlag(cmd, &params.Repository)
	cmd.Flags().BoolVar(&params.Force, "force", false, "lose what was written to the shards since")
	cmd.Flags().BoolVar(&params.Trust, "trust", false, "in the store: do not read the files of shards that are restored where they were")
	j.flags(cmd)
	return cmd
}

// checkRestore refuses at once what the task would find out later.
func checkRestore(ctx context.Context, home remotestore.Store, params snapshot.RestoreParams) error {
	d, err := snapshot.Get(ctx, home, params.Snapshot)
	if err != nil {
		return err
	}
	if !d.Complete() {
		return fmt.Errorf("%s: %w", params.Snapshot, snapshot.ErrIncomplete)
	}
	for _, t := range params.Shards {
		if _, ok := d.Part(t.Shard); !ok {
			return fmt.Errorf("shard %s: %w: snapshot %s does not have it", t.Shard, shard.ErrNotFound, params.Snapshot)
		}
	}
	return nil
}
