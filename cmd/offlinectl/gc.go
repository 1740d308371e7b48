package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/garbage"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// gcRun is one garbage collection.
type gcRun struct {
	job

	params remotegc.Params
}

func gcRunCommand(std *cli.IO) *cobra.Command {
	r := gcRun{job: job{std: std, types: []string{remotegc.Type}}}
	r.report = r.result
	cmd := &cobra.Command{
		Use:   "run [SHARD…]",
		Short: "Delete what nobody needs from the store",
		Long: `Delete what nobody needs from the store, in a task on an offline node: old
generations, blobs that no generation, snapshot or reservation names, and uploads
that were never finished. A blob goes in a second run that finds it, a day after the
first one at the earliest. While such a task runs, this joins it.

With --dry-run nothing is submitted: this program reads the store itself (store.url)
and lists what would go, and why.`,
		Example: "  offlinectl gc run --dry-run\n  offlinectl gc run books/0 books/1 --wait",
		RunE: func(cmd *cobra.Command, shards []string) error {
			r.params.Shards, r.given = shards, cli.Given(cmd)
			if err := errors.Join(r.params.Validate(), r.check()); err != nil {
				return cli.Usage("%w", err)
			}
			if r.params.DryRun {
				return onStore(cmd, std, r.dry)
			}
			submission, err := remotegc.Submission(r.params)
			if err != nil {
				return err
			}
			session, err := std.Open(cmd)
			if err != nil {
				return err
			}
			defer session.Close(cmd.Context())
			return r.submit(cmd.Context(), session, submission)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&r.params.Folder, "folder", "", "only shards in this `folder`, such as books/")
	f.BoolVar(&r.params.DryRun, "dry-run", false, "list what would go, and delete nothing")
	r.flags(cmd)
	return cmd
}

// result says what a task has found.
func (r *gcRun) result(t *cli.Task) error {
	var result remotegc.Result
	if err := json.Unmarshal(t.Result, &result); err != nil {
		return fmt.Errorf("result of %s: %w", t.ID, err)
	}
	if !r.json {
		return r.print(result)
	}
	return r.failures(result)
}

// print says what was found, and ends with failure when a shard could not be looked at.
func (r *gcRun) print(result remotegc.Result) error {
	fmt.Fprintln(r.std.Err, cli.Count(result.Shards, "shard"))
	return errors.Join(tallyTable(result.Found).Write(r.std.Out, r.std.Width), r.failures(result))
}

// failures names the shards that could not be looked at.
func (r *gcRun) failures(result remotegc.Result) error {
	if result.Failed == 0 {
		return nil
	}
	for _, f := range result.Failures {
		fmt.Fprintf(r.std.Err, "offlinectl: %s: %s\n", cli.Clean(f.Shard), cli.Clean(f.Error))
	}
	fmt.Fprintf(r.std.Err, "offlinectl: nothing, or not all, was deleted in %s\n", cli.Count(result.Failed, "shard"))
	return cli.End(cli.Failed)
}

func tallyTable(found remotegc.Tally) *cli.Table {
	table := cli.NewTable(cli.Column{Title: "VERDICT"}, cli.Column{Title: "REASON"}, cli.Column{Title: "OBJECTS"}, cli.Column{Title: "SIZE"})
	for _, reason := range remotegc.Reasons {
		if n, ok := found[reason]; ok {
			table.Row(string(reason.Verdict()), string(reason), cli.Thousands(n.Objects), cli.Size(n.Bytes))
		}
	}
	return table
}

// gcItem is what --json prints for an object.
type gcItem struct {
	Verdict remotegc.Verdict `json:"verdict"`
	Reason  remotegc.Reason  `json:"reason"`
	Key     string           `json:"key"`
	Bytes   int64            `json:"bytes"`
	Why     string           `json:"why"`
}

// dry reads the store, and lists what a run would do.
func (r *gcRun) dry(ctx context.Context, store remotestore.Store) error {
	collector, err := remotegc.New(garbage.Config(store, nil))
	if err != nil {
		return err
	}
	shards, err := collector.Shards(ctx, r.params)
	if err != nil {
		return err
	}
	progress := cli.NewProgress(r.std)
	defer progress.Clear()
	result := remotegc.Result{Found: remotegc.Tally{}, DryRun: true}
	options := remotegc.Options{DryRun: true, Found: func(i remotegc.Item) {
		progress.Clear()
		r.item(i)
	}}
	for i, name := range shards {
		progress.Show(fmt.Sprintf("%s %d of %d  %s", cli.Bar(float64(i)/float64(len(shards)), 20), i+1, len(shards), name))
		found, err := collector.Collect(ctx, name, options)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		result.Add(name, found, err)
	}
	if r.params.Whole() {
		found, err := collector.Sweep(ctx, options)
		if err != nil {
			return err
		}
		result.Found.Add(found)
	}
	progress.Clear()
	if r.json {
		return errors.Join(cli.WriteJSON(r.std.Out, result), r.failures(result))
	}
	return r.print(result)
}

func (r *gcRun) item(i remotegc.Item) {
	if r.json {
		_ = cli.WriteJSON(r.std.Out, gcItem{i.Reason.Verdict(), i.Reason, i.Key, i.Bytes, i.Why})
		return
	}
	fmt.Fprintf(r.std.Out, "%-8s%-18s%s  %s  %s\n", i.Reason.Verdict(), i.Reason, cli.Clean(i.Key), cli.Size(i.Bytes), i.Why)
}

// gcShard is what --json prints for a shard.
type gcShard struct {
	Shard   string    `json:"shard"`
	Blobs   int       `json:"blobs"`
	Bytes   int64     `json:"bytes"`
	Oldest  time.Time `json:"oldest,omitzero"` // when the first of them was found
	LastRun time.Time `json:"last_run,omitzero"`
}

func gcStatusCommand(std *cli.IO) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [SHARD…]",
		Short: "Show what waits to be deleted, by shard",
		Long: `Show what waits to be deleted, by shard: the blobs that the last garbage
collection has marked, and since when the oldest of them is known to be garbage. They
are read from the store (store.url). What collections do now and did show
"tasks list --type remote-gc" and "tasks get".`,
		RunE: func(cmd *cobra.Command, shards []string) error {
			for _, name := range shards {
				if err := shard.CheckName(name); err != nil {
					return cli.Usage("%w", err)
				}
			}
			return onStore(cmd, std, func(ctx context.Context, store remotestore.Store) error {
				all, err := waitingGarbage(ctx, store, shards)
				if err != nil {
					return err
				}
				return printWaiting(std, all, asJSON)
			})
		},
	}
	jsonFlag(cmd, &asJSON, "shards")
	return cmd
}

func waitingGarbage(ctx context.Context, store remotestore.Store, shards []string) (all []gcShard, err error) {
	collector, err := remotegc.New(garbage.Config(store, nil))
	if err != nil {
		return nil, err
	}
	if shards, err = collector.Shards(ctx, remotegc.Params{Shards: shards}); err != nil {
		return nil, err
	}
	for _, name := range shards {
		last, err := collector.Last(ctx, name)
		if err != nil {
			return nil, err
		}
		s := gcShard{Shard: name, Blobs: len(last.Candidates), LastRun: last.At.UTC()}
		for _, c := range last.Candidates {
			s.Bytes += c.Bytes
			if s.Oldest.IsZero() || c.Since.Before(s.Oldest) {
				s.Oldest = c.Since.UTC()
			}
		}
		all = append(all, s)
	}
	return all, nil
}

func printWaiting(std *cli.IO, all []gcShard, asJSON bool) error {
	if asJSON {
		return printJSON(std, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(std.Err, "There is no shard.")
	}
	table := cli.NewTable(cli.Column{Title: "SHARD"}, cli.Column{Title: "BLOBS"}, cli.Column{Title: "SIZE"},
		cli.Column{Title: "OLDEST", Spare: true}, cli.Column{Title: "LAST RUN"})
	for _, s := range all {
		table.Row(s.Shard, cli.Thousands(s.Blobs), cli.Size(s.Bytes), moment(s.Oldest), cmp.Or(moment(s.LastRun), "never"))
	}
	return table.Write(std.Out, std.Width)
}

// moment is a time as everybody reads it; "" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return cli.Stamp(t)
}
