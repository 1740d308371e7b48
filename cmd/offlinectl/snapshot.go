package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
)

func snapshots(std *cli.IO) *cobra.Command {
	return cli.Group("snapshot", "Keep shards as they are, and bring them back",
		snapshotCreate(std), snapshotList(std), snapshotShow(std), snapshotStatus(std), snapshotDelete(std), snapshotRestore(std))
}

// repositoryFlag gives a command --repository.
func repositoryFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "repository", false, "in the repository, as a copy of all data, instead of in the store")
}

// needName refuses a command line without exactly one name of a snapshot.
func needName(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return cli.Usage("name one snapshot")
	}
	return checkSnapshot(args[0])
}

func checkSnapshot(name string) error {
	if err := snapshot.CheckName(name); err != nil {
		return cli.Usage("%w", err)
	}
	return nil
}

// withSnapshots runs f with the store, or the repository, that the settings name.
func withSnapshots(cmd *cobra.Command, std *cli.IO, repository bool, f func(ctx context.Context, s *cli.Session, store remotestore.Store) error) (err error) {
	ctx := cmd.Context()
	session, err := std.Open(cmd)
	if err != nil {
		return err
	}
	defer session.Close(ctx)
	store, err := openStore(ctx, session, repository)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore(store)) }()
	return f(ctx, session, store)
}

func openStore(ctx context.Context, s *cli.Session, repository bool) (remotestore.Store, error) {
	section := s.Settings.Store
	if repository {
		section = s.Settings.Repository
	}
	cfg, err := section.Config()
	if repository && errors.Is(err, config.ErrNoStore) {
		return nil, snapshot.ErrNoRepository
	}
	if err != nil {
		return nil, err
	}
	return remotestore.Open(ctx, cfg)
}

func closeStore(store remotestore.Store) error {
	if c, ok := store.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// notThere ends a command with the status of what is missing or refused.
func notThere(err error) error {
	for _, known := range []error{shard.ErrNotFound, shard.ErrCorrupt, shard.ErrFormat, snapshot.ErrExists, snapshot.ErrIncomplete} {
		if errors.Is(err, known) {
			return &cli.ExitError{Code: cli.Failed, Err: err}
		}
	}
	return err
}

// place says where a snapshot is.
func place(repository bool) string {
	if repository {
		return "in the repository"
	}
	return "in the store"
}

// docs writes a number of documents.
func docs(n uint64) string { return cli.Thousands(int(min(n, 1<<62))) }

// sizeOf writes a size, or nothing for 0.
func sizeOf(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return cli.Size(bytes)
}

// noSuch says that a snapshot is not there.
func noSuch(name string, repository bool) error {
	return &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("%s: no such snapshot %s", name, place(repository))}
}
