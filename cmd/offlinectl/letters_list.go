package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func lettersList(std *cli.IO) *cobra.Command {
	var flags letterFlags
	var limit int
	var json bool
	cmd := &cobra.Command{
		Use:   "list [ID…]",
		Short: "List tasks that were given up",
		Long: `List tasks that were given up, the newest on top. A letter stays until its
retention ends (kafka.topics.dead_letter_retention), also when its task was
redriven; of repeats the newest is shown. Redis is not needed.`,
		Example: "  offlinectl dead-letters list --reason worker_lost --since 2h",
		RunE: func(cmd *cobra.Command, ids []string) error {
			filter, err := flags.filter(ids, std.Now())
			if err != nil {
				return err
			}
			if limit < 0 {
				return cli.Usage("--limit %d: 1 or more, or 0 for all", limit)
			}
			session, err := std.Open(cmd)
			if err != nil {
				return err
			}
			found := newest{limit: limit}
			err = readLetters(cmd.Context(), session, filter, func(l *kafkaqueue.DeadLetter) error {
				found.add(letterOf(l))
				return nil
			})
			if err != nil {
				return err
			}
			return printLetters(std, &found, json)
		},
	}
	cmd.Flags().SortFlags = false
	flags.add(cmd, std)
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "only this `number` of newest ones; 0: all")
	jsonFlag(cmd, &json, "letters, without parameters,")
	return cmd
}

// newest keeps the newest letters.
type newest struct {
	limit   int // 0: all
	letters []*letter
	dropped int
}

func (n *newest) add(l *letter) {
	n.letters = append(n.letters, l)
	if n.limit > 0 && len(n.letters) >= 2*n.limit {
		n.cut()
	}
}

// cut sorts the letters, the newest first, and drops repeats and those over the
// limit.
func (n *newest) cut() {
	slices.SortStableFunc(n.letters, func(a, b *letter) int { return b.At.Compare(a.At) })
	seen := map[string]bool{}
	n.letters = slices.DeleteFunc(n.letters, func(l *letter) bool {
		key := fmt.Sprint(l.ID, " ", l.Replay)
		repeat := seen[key] && l.Reason != task.IDConflict // of those each is a task of its own
		seen[key] = seen[key] || l.Reason != task.IDConflict
		return repeat
	})
	if n.limit > 0 && len(n.letters) > n.limit {
		n.dropped += len(n.letters) - n.limit
		n.letters = slices.Clone(n.letters[:n.limit])
	}
}

func printLetters(std *cli.IO, found *newest, json bool) error {
	found.cut()
	if json {
		for _, l := range found.letters {
			if err := cli.WriteJSON(std.Out, l); err != nil {
				return err
			}
		}
		return nil
	}
	if len(found.letters) == 0 {
		fmt.Fprintln(std.Err, "No such dead letters.")
		return nil
	}
	table := cli.NewTable(
		cli.Column{Title: "ID"}, cli.Column{Title: "TYPE", Least: 8}, cli.Column{Title: "REASON", Least: 9}, cli.Column{Title: "AGE"},
		cli.Column{Title: "REPLAY", Spare: true}, cli.Column{Title: "ATTEMPTS", Spare: true}, cli.Column{Title: "NODE", Least: 8, Spare: true},
		cli.Column{Title: "MESSAGE", Least: 13},
	)
	now := std.Now()
	for _, l := range found.letters {
		table.Row(l.ID, l.Type, string(l.Reason), cli.Ago(now.Sub(l.At)), fmt.Sprint(l.Replay), fmt.Sprint(l.Attempts), l.Node, l.says())
	}
	if err := table.Write(std.Out, std.Width); err != nil {
		return err
	}
	if found.dropped > 0 {
		fmt.Fprintf(std.Err, "There are %s older ones: add --limit 0 to see all\n", cli.Thousands(found.dropped))
	}
	return nil
}
