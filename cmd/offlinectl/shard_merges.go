package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
)

func shardMerges(std *cli.IO) *cobra.Command {
	var asJSON bool
	var node string
	cmd := &cobra.Command{
		Use:   "merges SHARD",
		Short: "Show the merges of a shard: where each runs, and why",
		Long: `Show the merges of a shard. Those that are tasks are found in the queue, whoever
submitted them. A data node also knows those that it runs itself, and why each
runs where it does: --data-node asks it.`,
		Example: "  offlinectl shard merges books/0 --data-node http://localhost:9470",
		Args:    one("name one SHARD, such as books or books/0"),
		RunE: func(cmd *cobra.Command, names []string) error {
			if node != "" {
				merges, err := mergesOf(cmd.Context(), node, names[0])
				if err != nil {
					return err
				}
				return printMerges(std, merges, asJSON)
			}
			return withClient(cmd, std, func(ctx context.Context, _ *cli.Session, c *client.Client) error {
				return listMerges(ctx, std, c, names[0], asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&node, "data-node", "", "ask the data node at this `URL`")
	jsonFlag(cmd, &asJSON, "merges")
	return cmd
}

// listMerges lists the merge tasks of a shard, what changed last on top.
func listMerges(ctx context.Context, std *cli.IO, c *client.Client, name string, asJSON bool) error {
	var found []cli.Task
	for _, typ := range []string{merge.Type, merge.ForceType} {
		p := pager{client: c, filter: claims.Filter{Type: typ}}
		for first := true; first || p.more(); first = false {
			states, err := p.next(ctx, 0)
			if err != nil {
				return err
			}
			for _, s := range states {
				if strings.HasSuffix(s.Describe, " of "+name) || strings.HasPrefix(s.Describe, "merge "+name+" down ") {
					found = append(found, cli.TaskOf(s))
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b cli.Task) int {
		return cmp.Or(b.ChangedAt.Compare(a.ChangedAt), strings.Compare(a.ID, b.ID))
	})
	if !asJSON && len(found) == 0 {
		fmt.Fprintf(std.Err, "No merge of %s is known to the queue.\n", name)
		return nil
	}
	if asJSON {
		return printJSON(std, found)
	}
	return cli.TaskTable(found, std.Now()).Write(std.Out, std.Width)
}

// askTime is how long a data node may take to answer.
const askTime = 10 * time.Second

// mergesOf asks a data node.
func mergesOf(ctx context.Context, node, name string) ([]datanode.Merge, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(node, "/")+"/shards/"+url.PathEscape(name)+"/_merges", nil)
	if err != nil {
		return nil, cli.Usage("--data-node: %w", err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("data node: %w", err)
	}
	defer response.Body.Close()
	var answer struct {
		Merges []datanode.Merge
		Error  struct{ Reason string }
	}
	err = json.NewDecoder(io.LimitReader(response.Body, 16<<20)).Decode(&answer)
	switch {
	case answer.Error.Reason != "":
		return nil, &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("data node: %s", cli.Clean(answer.Error.Reason))}
	case err != nil || response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s: it is no data node", node, response.Status)
	}
	return answer.Merges, nil
}

func printMerges(std *cli.IO, merges []datanode.Merge, asJSON bool) error {
	if asJSON {
		return printJSON(std, merges)
	}
	table := cli.NewTable(
		cli.Column{Title: "ID", Least: 12}, cli.Column{Title: "WHERE"}, cli.Column{Title: "STATUS"}, cli.Column{Title: "AGE"},
		cli.Column{Title: "SEGMENTS"}, cli.Column{Title: "SIZE"}, cli.Column{Title: "NODE", Least: 8, Spare: true}, cli.Column{Title: "WHY", Least: 20},
	)
	for _, m := range merges {
		status := string(m.Status)
		if m.Status == datanode.Running {
			status = fmt.Sprintf("%s %d%%", m.Status, int(m.Progress*100))
		}
		table.Row(m.ID, string(m.Where), status, cli.Since(std.Now(), m.PlannedAt), fmt.Sprint(len(m.Inputs)), cli.Size(m.Bytes), m.Node, cmp.Or(m.Error, m.Note, m.Reason))
	}
	if len(merges) == 0 {
		fmt.Fprintln(std.Err, "The data node has planned no merge yet.")
		return nil
	}
	return table.Write(std.Out, std.Width)
}
