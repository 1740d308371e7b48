package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

func shards(std *cli.IO) *cobra.Command {
	return cli.Group("shard", "Show shards in the store, and merge them",
		shardList(std), shardShow(std), shardMerges(std), shardForceMerge(std), shardExpunge(std))
}

// shardAbout is what --json prints for a shard.
type shardAbout struct {
	Shard      string    `json:"shard"`
	Generation uint64    `json:"generation,omitempty"`
	Segments   int       `json:"segments"`
	Docs       uint64    `json:"docs"`
	Deleted    uint64    `json:"deleted"` // documents that are still in segments
	Bytes      int64     `json:"bytes"`
	Writer     string    `json:"writer,omitempty"` // of the newest generation
	Task       string    `json:"task,omitempty"`   // whose effect it is
	StoredAt   time.Time `json:"stored_at,omitzero"`
	Error      string    `json:"error,omitempty"`

	Detail []shard.Segment `json:"segment_list,omitempty"`
}

func aboutShard(m shard.Manifest) shardAbout {
	a := shardAbout{
		Shard: m.Shard, Generation: m.Generation, Segments: len(m.Segments), Docs: m.Docs(), Bytes: m.Bytes(),
		Writer: m.Writer.Node, Task: m.Writer.Task, StoredAt: m.StoredAt.UTC(),
	}
	for _, s := range m.Segments {
		a.Deleted += s.Docs - s.Live
	}
	return a
}

// onStore runs f with the store of the settings.
func onStore(cmd *cobra.Command, std *cli.IO, f func(context.Context, remotestore.Store) error) (err error) {
	session, err := std.Open(cmd)
	if err != nil {
		return err
	}
	store, err := openStore(cmd.Context(), session, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore(store)) }()
	return f(cmd.Context(), store)
}

func newestOf(ctx context.Context, store remotestore.Store, name string) (shard.Manifest, error) {
	s, err := shard.Open(store, name)
	if err != nil {
		return shard.Manifest{}, cli.Usage("%w", err)
	}
	m, err := s.Newest(ctx)
	if errors.Is(err, shard.ErrNotFound) {
		return m, &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("the store has no shard %s: offlinectl shard list shows those that it has", name)}
	}
	return m, err
}

func shardList(std *cli.IO) *cobra.Command {
	var folder string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the shards in the store",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return onStore(cmd, std, func(ctx context.Context, store remotestore.Store) error {
				return listShards(ctx, std, store, folder, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&folder, "folder", "", "only shards in this `folder`, such as books/")
	jsonFlag(cmd, &asJSON, "shards")
	return cmd
}

// listShards names a shard that cannot be read, and goes on.
func listShards(ctx context.Context, std *cli.IO, store remotestore.Store, folder string, asJSON bool) error {
	table := cli.NewTable(
		cli.Column{Title: "SHARD"}, cli.Column{Title: "GENERATION"}, cli.Column{Title: "SEGMENTS"}, cli.Column{Title: "DOCS"},
		cli.Column{Title: "DELETED"}, cli.Column{Title: "SIZE"}, cli.Column{Title: "CHANGED"}, cli.Column{Title: "WRITER", Least: 8, Spare: true},
	)
	code, found := cli.Done, false
	for name, err := range shard.Names(ctx, store, folder) {
		if err != nil {
			return err
		}
		m, err := newestOf(ctx, store, name)
		about := aboutShard(m)
		if err != nil {
			about = shardAbout{Shard: name, Error: err.Error()}
			code = cli.Failed
			fmt.Fprintf(std.Err, "offlinectl: %s: %s\n", name, cli.Clean(err.Error()))
		}
		found = true
		switch {
		case asJSON:
			if err := cli.WriteJSON(std.Out, about); err != nil {
				return err
			}
		case err == nil:
			table.Row(name, fmt.Sprint(about.Generation), fmt.Sprint(about.Segments), cli.Thousands(int(about.Docs)), cli.Thousands(int(about.Deleted)),
				cli.Size(about.Bytes), cli.Since(std.Now(), about.StoredAt), about.Writer)
		}
	}
	if !found {
		fmt.Fprintln(std.Err, "The store has no shards here.")
		return nil
	}
	if asJSON {
		return cli.End(code)
	}
	if err := table.Write(std.Out, std.Width); err != nil {
		return err
	}
	return cli.End(code)
}

func shardShow(std *cli.IO) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show SHARD",
		Short: "Show the newest generation of a shard",
		Args:  one("name one SHARD, such as books or books/0"),
		RunE: func(cmd *cobra.Command, names []string) error {
			return onStore(cmd, std, func(ctx context.Context, store remotestore.Store) error {
				m, err := newestOf(ctx, store, names[0])
				if err != nil {
					return err
				}
				return printShard(std, m, asJSON)
			})
		},
	}
	jsonFlag(cmd, &asJSON, "the shard")
	return cmd
}

func printShard(std *cli.IO, m shard.Manifest, asJSON bool) error {
	about := aboutShard(m)
	if asJSON {
		about.Detail = m.Segments
		return cli.WriteJSON(std.Out, about)
	}
	p := cli.NewPrinter(std)
	p.Line("Shard", about.Shard)
	p.Line("Generation", fmt.Sprint(about.Generation))
	p.Time("Stored", about.StoredAt)
	p.Line("Writer", about.Writer)
	p.Line("Task", about.Task)
	p.Line("Documents", fmt.Sprintf("%s, and %s deleted that are still in segments", cli.Thousands(int(about.Docs)), cli.Thousands(int(about.Deleted))))
	p.Line("Size", cli.Size(about.Bytes))
	if about.Segments == 0 {
		return nil
	}
	fmt.Fprintln(std.Out)
	table := cli.NewTable(cli.Column{Title: "SEGMENT"}, cli.Column{Title: "DOCS"}, cli.Column{Title: "DELETED"}, cli.Column{Title: "SIZE"}, cli.Column{Title: "BLOB", Least: 12})
	for _, s := range m.Segments {
		table.Row(fmt.Sprint(s.ID), cli.Thousands(int(s.Live)), cli.Thousands(int(s.Docs-s.Live)), cli.Size(s.Bytes), string(s.Blob))
	}
	return table.Write(std.Out, std.Width)
}
