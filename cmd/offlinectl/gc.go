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
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// gcRun is one garbage collection.
type gcRun struct {
	std    *cli.IO
	params remotegc.Params
	detach bool
	json   bool
	given  string
}

func gcRunCommand(std *cli.IO) *cobra.Command {
	r := gcRun{std: std}
	cmd := &cobra.Command{
		Use:   "run [SHARD…]",
		Short: "Delete what nobody needs from the store",
		Long: `Delete what nobody needs from the store, in a task on an offline node: old
generations, blobs that no generation, snapshot or reservation names, and uploads
that were never finished. A blob goes in a second run that finds it, a day after the
first one at the earliest. While such a task runs, this joins it.

With --dry-run nothing is submitted: this program reads the store itself (store.url)
and lists what would go, and why.`,
		Example: "  offlinectl gc run --dry-run\n  offlinectl gc run books/0 books/1",
		RunE: func(cmd *cobra.Command, shards []string) error {
			r.params.Shards, r.given = shards, cli.Given(cmd)
			if err := r.params.Validate(); err != nil {
				return cli.Usage("%w", err)
			}
			if r.params.DryRun {
				return onStore(cmd, std, r.dry)
			}
			return withClient(cmd, std, r.submit)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&r.params.Folder, "folder", "", "only shards in this `folder`, such as books/")
	f.BoolVar(&r.params.DryRun, "dry-run", false, "list what would go, and delete nothing")
	f.BoolVar(&r.detach, "detach", false, "print the id of the task and do not wait for it")
	jsonFlag(cmd, &r.json, "what is found")
	return cmd
}

// submit hands the collection to the fleet and waits for it. The parameters are its key: a collection that runs is joined.
func (r *gcRun) submit(ctx context.Context, s *cli.Session, c *client.Client) error {
	if err := s.Ping(ctx); err != nil {
		return err
	}
	if err := makeTopics(ctx, s, []string{remotegc.Type}); err != nil {
		return err
	}
	submission, err := remotegc.Submission(r.params)
	if err != nil {
		return err
	}
	result := c.SubmitBatch(ctx, []task.Submission{submission})[0]
	if result.Err != nil {
		return fmt.Errorf("submit %s: %w", remotegc.Type, result.Err)
	}
	if result.Existed {
		fmt.Fprintf(r.std.Err, "%s runs already\n", result.ID)
	}
	if r.detach {
		fmt.Fprintln(r.std.Out, result.ID)
		return nil
	}
	return r.wait(ctx, c, client.Awaited{ID: result.ID, Replay: result.Replay})
}

func (r *gcRun) wait(ctx context.Context, c *client.Client, awaited client.Awaited) error {
	following, err := cli.Follow(ctx, r.std, c, []client.Awaited{awaited}, func(int, *cli.Task) string { return "" })
	if err != nil {
		fmt.Fprintln(r.std.Err, "offlinectl: stopped waiting: the task goes on")
		r.std.Advise([]string{awaited.ID}, remotegc.Type, r.given)
		return cli.End(cli.Unknown)
	}
	t := following.Last[0]
	if t.Status != task.Success {
		return &cli.ExitError{Code: t.Code(), Err: fmt.Errorf("%s %s: %s", t.ID, t.Status, t.Says())}
	}
	var result remotegc.Result
	if err := json.Unmarshal(t.Result, &result); err != nil {
		return fmt.Errorf("result of %s: %w", t.ID, err)
	}
	return r.print(result)
}

// print says what was found, and ends with failure when a shard could not be looked at.
func (r *gcRun) print(result remotegc.Result) error {
	for _, f := range result.Failures {
		fmt.Fprintf(r.std.Err, "offlinectl: %s: %s\n", cli.Clean(f.Shard), cli.Clean(f.Error))
	}
	code := cli.Done
	if result.Failed > 0 {
		code = cli.Failed
		fmt.Fprintf(r.std.Err, "offlinectl: nothing, or not all, was deleted in %s\n", cli.Count(result.Failed, "shard"))
	}
	if r.json {
		return errors.Join(cli.WriteJSON(r.std.Out, result), cli.End(code))
	}
	fmt.Fprintln(r.std.Err, cli.Count(result.Shards, "shard"))
	return errors.Join(tallyTable(result.Found).Write(r.std.Out, r.std.Width), cli.End(code))
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
