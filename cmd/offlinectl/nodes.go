package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
)

func nodes(std *cli.IO) *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes that are alive",
		Long: `List the nodes that are alive: what they run, by type and out of how many slots,
how long they are up and when they last said so. A node that died leaves the
list when its lease ends, 15 s after its last beat.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, std, func(ctx context.Context, _ *cli.Session, c *client.Client) error {
				alive, err := c.Nodes(ctx)
				if err != nil {
					return err
				}
				return printNodes(std, alive, json)
			})
		},
	}
	jsonFlag(cmd, &json, "nodes")
	return cmd
}

func printNodes(std *cli.IO, alive []claims.Node, json bool) error {
	if json {
		for _, n := range alive {
			if err := cli.WriteJSON(std.Out, n); err != nil {
				return err
			}
		}
		return nil
	}
	if len(alive) == 0 {
		fmt.Fprintln(std.Err, "No node is alive.")
		return nil
	}
	table := cli.NewTable(
		cli.Column{Title: "NODE", Least: 20}, cli.Column{Title: "STATE"}, cli.Column{Title: "UP"}, cli.Column{Title: "BEAT"},
		cli.Column{Title: "IP", Least: 9, Spare: true}, cli.Column{Title: "VERSION", Least: 8, Spare: true},
		cli.Column{Title: "LOAD", Spare: true}, cli.Column{Title: "RUNNING", Least: 12},
	)
	now := std.Now()
	for _, n := range alive {
		table.Row(n.Name, nodeState(&n), cli.Since(now, n.StartedAt), cli.Since(now, n.BeatAt), n.IP, n.Version, load(&n), running(&n))
	}
	return table.Write(std.Out, std.Width)
}

func nodeState(n *claims.Node) string {
	if n.Draining {
		return "draining"
	}
	return "runs"
}

// load is CPU and memory in per cent, where the node tells.
func load(n *claims.Node) string {
	if n.CPU == 0 && n.Memory == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%% %.0f%%", n.CPU*100, n.Memory*100)
}

// running is how many slots are taken, by type: "merge 2/4, snapshot 0/1".
func running(n *claims.Node) string {
	var parts []string
	for _, typ := range slices.Sorted(maps.Keys(n.Slots)) {
		parts = append(parts, fmt.Sprintf("%s %d/%d", typ, n.Running[typ], n.Slots[typ]))
	}
	return strings.Join(parts, ", ")
}
