package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
)

// listed is a snapshot as --json prints it.
type listed struct {
	snapshot.Document

	Complete bool   `json:"complete"`
	Error    string `json:"error,omitempty"`
}

func snapshotList(std *cli.IO) *cobra.Command {
	var repository, json bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List snapshots",
		Long: `List the snapshots in the store, or in the repository. One that is INCOMPLETE is
being made, or its task failed: snapshot status tells. COPYING are the pins of one
in the repository that is not complete. One that is UNREADABLE stops garbage
collection, because nobody knows what it needs: delete it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withSnapshots(cmd, std, repository, func(ctx context.Context, _ *cli.Session, store remotestore.Store) error {
				all, err := snapshot.List(ctx, store)
				if err != nil {
					return err
				}
				return printSnapshots(std, all, repository, json)
			})
		},
	}
	repositoryFlag(cmd, &repository)
	jsonFlag(cmd, &json, "snapshots")
	return cmd
}

func printSnapshots(std *cli.IO, all []snapshot.Listed, repository, json bool) error {
	if json {
		for _, l := range all {
			v := listed{Document: l.Document, Complete: l.Complete()}
			if l.Err != nil {
				v.Error = l.Err.Error()
			}
			if err := cli.WriteJSON(std.Out, v); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintf(std.Err, "No snapshots %s.\n", place(repository))
		return nil
	}
	table := cli.NewTable(
		cli.Column{Title: "SNAPSHOT"}, cli.Column{Title: "STATUS"}, cli.Column{Title: "AGE"}, cli.Column{Title: "TOOK", Spare: true},
		cli.Column{Title: "SHARDS"}, cli.Column{Title: "DOCS", Spare: true}, cli.Column{Title: "SIZE", Spare: true},
		cli.Column{Title: "COPIED", Spare: true}, cli.Column{Title: "NOTE", Least: 12, Spare: true},
	)
	now := std.Now()
	for i := range all {
		l := &all[i]
		sum := sumOf(l.Document)
		took, note := "", ""
		if l.Complete() {
			took = cli.Ago(l.EndedAt.Sub(l.BegunAt))
		}
		if l.Err != nil {
			note = l.Err.Error()
		}
		table.Row(l.Snapshot, statusOf(l), cli.Since(now, l.BegunAt), took, strconv.Itoa(len(l.Shards)),
			sum.docs(l.Complete()), sizeOf(sum.bytes), sizeOf(sum.copied), note)
	}
	return table.Write(std.Out, std.Width)
}

func statusOf(l *snapshot.Listed) string {
	switch {
	case errors.Is(l.Err, snapshot.ErrCopying):
		return "COPYING"
	case errors.Is(l.Err, shard.ErrNotFound):
		return "LEFTOVERS"
	case l.Err != nil:
		return "UNREADABLE"
	case l.Complete():
		return "COMPLETE"
	}
	return "INCOMPLETE"
}

// sum is what all shards of a snapshot have together.
type sum struct {
	n             uint64
	bytes, copied int64
}

func sumOf(d snapshot.Document) (s sum) {
	for _, p := range d.Shards {
		s.n += p.Docs
		s.bytes += p.Bytes
		s.copied += p.Copied
	}
	return s
}

// docs is the number of documents when it is known.
func (s sum) docs(known bool) string {
	if !known {
		return ""
	}
	return docs(s.n)
}

func snapshotShow(std *cli.IO) *cobra.Command {
	var repository, json bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show what a snapshot holds",
		Args:  needName,
		RunE: func(cmd *cobra.Command, names []string) error {
			return withSnapshots(cmd, std, repository, func(ctx context.Context, _ *cli.Session, store remotestore.Store) error {
				d, err := snapshot.Get(ctx, store, names[0])
				if errors.Is(err, shard.ErrNotFound) {
					return noSuch(names[0], repository)
				}
				if err != nil {
					return notThere(err)
				}
				if json {
					return cli.WriteJSON(std.Out, listed{Document: d, Complete: d.Complete()})
				}
				return printSnapshot(std, d)
			})
		},
	}
	repositoryFlag(cmd, &repository)
	jsonFlag(cmd, &json, "the snapshot")
	return cmd
}

func printSnapshot(std *cli.IO, d snapshot.Document) error {
	p := cli.NewPrinter(std)
	status := "INCOMPLETE"
	if d.Complete() {
		status = "COMPLETE"
	}
	p.Line("Snapshot", d.Snapshot+", "+place(d.Repository))
	p.Line("Status", status)
	p.Line("Task", d.Task)
	p.Time("Begun", d.BegunAt)
	p.Time("Ended", d.EndedAt)
	if d.Complete() {
		p.Line("Took", cli.Ago(max(d.EndedAt.Sub(d.BegunAt), time.Millisecond)))
		s := sumOf(d)
		p.Line("Holds", fmt.Sprintf("%s documents, %s", docs(s.n), cli.Size(s.bytes)))
		if d.Repository {
			p.Line("Copied", cli.Size(s.copied))
		}
	}
	fmt.Fprintln(std.Out)
	table := cli.NewTable(
		cli.Column{Title: "SHARD", Least: 20}, cli.Column{Title: "GENERATION"}, cli.Column{Title: "SEGMENTS", Spare: true},
		cli.Column{Title: "DOCS"}, cli.Column{Title: "SIZE"}, cli.Column{Title: "COPIED", Spare: true},
	)
	for _, part := range d.Shards {
		if !d.Complete() {
			table.Row(part.Shard, "", "", "", "", "")
			continue
		}
		table.Row(part.Shard, strconv.FormatUint(part.Generation, 10), strconv.Itoa(part.Segments), docs(part.Docs), cli.Size(part.Bytes), sizeOf(part.Copied))
	}
	return table.Write(std.Out, std.Width)
}
