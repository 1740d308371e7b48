package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// redriven is what --json prints for each letter.
type redriven struct {
	ID      string      `json:"task_id"`
	NewID   string      `json:"new_task_id,omitempty"` // where it runs under another
	Replay  int         `json:"replay"`
	Type    string      `json:"type,omitempty"`
	Reason  task.Reason `json:"reason"`
	Outcome string      `json:"outcome"` // redriven, would_redrive, left, unknown, or failed
	Error   string      `json:"error,omitempty"`
}

func lettersRedrive(std *cli.IO) *cobra.Command {
	var flags letterFlags
	var all, dryRun, json bool
	cmd := &cobra.Command{
		Use:   "redrive [ID…]",
		Short: "Run tasks once more that were given up",
		Long: `Run tasks once more that were given up: their parameters, byte for byte, as the
next replay with all their attempts. Choose them by ID or by flags, or take all
with --all; --dry-run shows what would be done.

Of several letters of one task the newest counts, and one whose next replay is
known already is left alone: so redriving again does no harm. A task whose id
belonged to another one (id_conflict) runs under a new id.`,
		Example: `  offlinectl dead-letters redrive --reason worker_lost --since 2h --dry-run
  offlinectl dead-letters redrive 019a3c1e-7f2b-7c80-9d5e-3f1b2a6c4d8e`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			chosen := len(ids) > 0 || !flags.empty()
			switch {
			case !chosen && !all:
				return cli.Usage("choose letters by ID or by flags, or take all of them with --all")
			case chosen && all:
				return cli.Usage("--all takes every letter: leave out ids and flags that choose")
			}
			filter, err := flags.filter(ids, std.Now())
			if err != nil {
				return err
			}
			return withClient(cmd, std, func(ctx context.Context, s *cli.Session, c *client.Client) error {
				if err := s.Ping(ctx); err != nil {
					return err
				}
				plan, err := c.Redrive(ctx, filter, dryRun)
				code, printErr := printRedriven(std, plan, dryRun, json)
				if err := errors.Join(err, printErr); err != nil {
					return err
				}
				return cli.End(code.Worse(nameMissing(std, ids, plan)))
			})
		},
	}
	cmd.Flags().SortFlags = false
	flags.add(cmd, std)
	cmd.Flags().BoolVar(&all, "all", false, "every letter there is")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be done")
	jsonFlag(cmd, &json, "what became of each")
	return cmd
}

func redrivenOf(p *client.Redriven, dryRun bool) redriven {
	r := redriven{
		ID: p.Letter.Delivery.ID, Replay: p.Replay, Type: p.Letter.Delivery.Type,
		Reason: p.Letter.Letter.Reason, Outcome: "redriven",
	}
	if p.ID != r.ID {
		r.NewID = p.ID
	}
	switch {
	case p.Err == nil && dryRun:
		r.Outcome = "would_redrive"
	case p.Err == nil:
	case errors.Is(p.Err, client.ErrRedriven):
		r.Outcome = "left"
	case errors.Is(p.Err, client.ErrUnknown):
		r.Outcome = "unknown"
	default:
		r.Outcome = "failed"
	}
	if p.Err != nil {
		r.Error = p.Err.Error()
	}
	return r
}

func (r *redriven) code() cli.Code {
	switch r.Outcome {
	case "failed":
		return cli.Failed
	case "unknown":
		return cli.Unknown
	}
	return cli.Done
}

// result is what a person reads.
func (r *redriven) result() string {
	text := map[string]string{
		"redriven": "redriven", "would_redrive": "would be redriven", "left": "left alone", "unknown": "not known", "failed": "not possible",
	}[r.Outcome]
	if r.NewID != "" {
		text += " as " + r.NewID
	}
	if r.Error != "" {
		text += ": " + r.Error
	}
	return text
}

func printRedriven(std *cli.IO, plan []client.Redriven, dryRun, json bool) (cli.Code, error) {
	code, counts := cli.Done, map[string]int{}
	table := cli.NewTable(
		cli.Column{Title: "ID"}, cli.Column{Title: "TYPE", Least: 8}, cli.Column{Title: "REASON", Least: 9, Spare: true},
		cli.Column{Title: "REPLAY"}, cli.Column{Title: "RESULT", Least: len("would be redriven")},
	)
	for i := range plan {
		r := redrivenOf(&plan[i], dryRun)
		code = code.Worse(r.code())
		counts[r.Outcome]++
		if json {
			if err := cli.WriteJSON(std.Out, r); err != nil {
				return code, err
			}
			continue
		}
		table.Row(r.ID, r.Type, string(r.Reason), fmt.Sprint(r.Replay), r.result())
	}
	err := table.Write(std.Out, std.Width)
	if !json {
		fmt.Fprintln(std.Err, redriveSum(counts, len(plan)))
	}
	return code, err
}

func redriveSum(counts map[string]int, n int) string {
	if n == 0 {
		return "No such dead letters."
	}
	text := ""
	for _, part := range []struct{ outcome, says string }{
		{"redriven", "redriven"},
		{"would_redrive", "would be redriven"},
		{"left", "left alone: redriven already"},
		{"unknown", "not known: redrive again"},
		{"failed", "not possible"},
	} {
		if count := counts[part.outcome]; count > 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%s %s", cli.Thousands(count), part.says)
		}
	}
	return text
}

// nameMissing names the ids that have no letter.
func nameMissing(std *cli.IO, ids []string, plan []client.Redriven) cli.Code {
	found := map[string]bool{}
	for i := range plan {
		found[plan[i].Letter.Delivery.ID] = true
	}
	code := cli.Done
	for _, id := range ids {
		if !found[id] {
			fmt.Fprintf(std.Err, "offlinectl: %s: no such dead letter\n", cli.Clean(id))
			code = cli.Failed
		}
	}
	return code
}
