package main

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
)

func shardForceMerge(std *cli.IO) *cobra.Command {
	j := job{std: std, types: []string{merge.Type, merge.ForceType}}
	var p merge.ForceParams
	cmd := &cobra.Command{
		Use:   "force-merge SHARD",
		Short: "Merge a shard down to a number of segments",
		Long: `Merge a shard down to a number of segments, on offline nodes: one task plans rounds
of merges and waits for them. It is about the segments that the shard has when it
starts. Writes go on meanwhile; a data node need not run.

With --wait a bar shows how far it is. Ctrl-C leaves it alone, and says how to
follow and how to cancel it.`,
		Example: "  offlinectl shard force-merge books/0 --max-segments 1 --wait",
		Args:    one("name one SHARD, such as books or books/0"),
		RunE:    j.force(&p),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&p.MaxSegments, "max-segments", 1, "`segments` that may be left")
	f.BoolVar(&p.Expunge, "expunge", false, "then rewrite those that hold deleted documents")
	f.IntVar(&p.AtOnce, "at-once", merge.DefaultAtOnce, "`segments` that one merge may take")
	j.flags(cmd)
	return cmd
}

func shardExpunge(std *cli.IO) *cobra.Command {
	j := job{std: std, types: []string{merge.Type, merge.ForceType}}
	p := merge.ForceParams{Expunge: true}
	cmd := &cobra.Command{
		Use:   "expunge SHARD",
		Short: "Rewrite the segments that hold deleted documents",
		Long: `Rewrite the segments of a shard that hold deleted documents, on offline nodes: each
becomes a new one without them.`,
		Args: one("name one SHARD, such as books or books/0"),
		RunE: j.force(&p),
	}
	j.flags(cmd)
	return cmd
}

// force submits a force merge of the shard that the command line names. A shard that the store does not have is told
// before, if the store is known here.
func (j *job) force(p *merge.ForceParams) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, names []string) error {
		p.Shard, j.given = names[0], cli.Given(cmd)
		if err := errors.Join(j.check(), p.Validate()); err != nil {
			return cli.Usage("%w", err)
		}
		session, err := j.std.Open(cmd)
		if err != nil {
			return err
		}
		defer session.Close(cmd.Context())
		if session.Settings.Store.URL != "" {
			if err := isThere(cmd.Context(), session, p.Shard); err != nil {
				return err
			}
		}
		return j.run(cmd.Context(), session, merge.ForceType+"-"+uuid.NewString(), merge.ForceType, *p)
	}
}

// isThere tells whether the store has a shard.
func isThere(ctx context.Context, s *cli.Session, name string) error {
	store, err := openStore(ctx, s, false)
	if err != nil {
		return err
	}
	_, err = newestOf(ctx, store, name)
	return errors.Join(err, closeStore(store))
}
