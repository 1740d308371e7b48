package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// fewTasks is how many tasks of a kind are named.
const fewTasks = 10

// verdict is what --json prints.
type verdict struct {
	Run     string  `json:"run"`
	Kept    bool    `json:"kept"` // nothing is lost, nothing has two outcomes
	Stopped bool    `json:"stopped,omitempty"`
	Seconds float64 `json:"seconds"`
	tally
	MedianSeconds float64             `json:"median_seconds"`
	P99Seconds    float64             `json:"p99_seconds"`
	WorstSeconds  float64             `json:"worst_seconds"`
	LateAfter     float64             `json:"late_after_seconds"`
	Reasons       map[task.Reason]int `json:"reasons,omitempty"` // of FAILED
	LostIDs       []string            `json:"lost_ids,omitempty"`
	TwoOutcomeIDs []string            `json:"two_outcome_ids,omitempty"`
	Refusal       string              `json:"refusal,omitempty"`
}

// report says what came of a run, and is the exit status.
func (v *verification) report(ctx context.Context) error {
	lost := v.ledger.open()
	if len(lost) > 0 {
		// The topic decides, not what was heard of it.
		now, sought := v.std.Now(), make(map[string]bool, len(lost))
		for _, id := range lost {
			sought[id] = true
		}
		err := kafkaqueue.ReadResults(ctx, v.session.Kafka, v.began.Add(-skew), func(e task.Event) error {
			if sought[e.TaskID] {
				v.ledger.heard(&e, now)
			}
			return nil
		})
		if err != nil {
			fmt.Fprintf(v.std.Err, "offlinectl: the results topic was not read again for what seems lost: %s\n", explained(err))
		}
		lost = v.ledger.open()
	}
	r := v.verdict(lost)
	if v.json {
		if err := cli.WriteJSON(v.std.Out, r); err != nil {
			return err
		}
		return cli.End(r.code())
	}
	if r.Accepted == 0 && v.ledger.refusal != nil {
		return fmt.Errorf("no task was accepted: %w", v.ledger.refusal)
	}
	if err := r.print(v.std); err != nil {
		return err
	}
	v.explain(ctx, lost)
	return cli.End(r.code())
}

func (v *verification) verdict(lost []string) *verdict {
	r := &verdict{
		Run: v.id, Stopped: v.stopped, Seconds: v.std.Now().Sub(v.began).Round(time.Millisecond).Seconds(),
		tally: v.ledger.tally(), LateAfter: time.Duration(v.late).Seconds(), Reasons: v.ledger.failures, LostIDs: lost, TwoOutcomeIDs: v.ledger.offenders,
	}
	r.Kept = r.Lost == 0 && r.TwoOutcomes == 0
	median, most, worst := v.ledger.times()
	r.MedianSeconds, r.P99Seconds, r.WorstSeconds = median.Seconds(), most.Seconds(), worst.Seconds()
	if v.ledger.refusal != nil {
		r.Refusal = v.ledger.refusal.Error()
	}
	return r
}

func (r *verdict) code() cli.Code {
	switch {
	case !r.Kept:
		return cli.Failed
	case r.Accepted == 0:
		return cli.NotDone
	}
	return cli.Done
}

func seconds(s float64) string { return cli.Ago(time.Duration(s * float64(time.Second))) }

// print is the table.
func (r *verdict) print(std *cli.IO) error {
	t := cli.NewTable(cli.Column{Title: "TASKS"}, cli.Column{Title: "COUNT"}, cli.Column{Title: "", Least: 20})
	row := func(what string, n int, says string) { t.Row(what, cli.Thousands(n), says) }
	row("accepted", r.Accepted, fmt.Sprintf("of %s published; %s in all", cli.Thousands(r.Published), seconds(r.Seconds)))
	took := ""
	if r.WorstSeconds > 0 {
		took = fmt.Sprintf("outcome after %s (median), %s (99 of 100)", seconds(r.MedianSeconds), seconds(r.P99Seconds))
	}
	row("SUCCESS", r.Succeeded, took)
	if r.Failed > 0 {
		row("FAILED", r.Failed, r.reasons())
	}
	if r.Cancelled > 0 {
		row("CANCELLED", r.Cancelled, "")
	}
	row("lost", r.Lost, "accepted, and no outcome")
	row("two outcomes", r.TwoOutcomes, "")
	row("stale", r.Stale, "outcomes of an older run")
	row("repeated", r.Repeated, "events, which is allowed")
	row("late", r.Late, fmt.Sprintf("more than %s after the acceptance; worst %s", seconds(r.LateAfter), seconds(r.WorstSeconds)))
	row("unknown", r.Unknown, "Kafka never answered whether it has them")
	if r.Refused > 0 {
		row("refused", r.Refused, r.Refusal)
	}
	width := 80
	if std.Width > 0 {
		width = min(width, std.Width)
	}
	if err := t.Write(std.Out, width); err != nil {
		return err
	}
	says := "The promises were kept."
	switch {
	case !r.Kept:
		says = "A PROMISE WAS BROKEN."
	case r.Accepted == 0:
		says = "Nothing was accepted, so nothing is proven."
	}
	_, err := fmt.Fprintln(std.Out, says)
	return err
}

func (r *verdict) reasons() string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		parts = append(parts, fmt.Sprintf("%s %s", reason, cli.Thousands(r.Reasons[reason])))
	}
	return strings.Join(parts, ", ")
}

// explain says where lost tasks stand.
func (v *verification) explain(ctx context.Context, lost []string) {
	few := lost[:min(len(lost), fewTasks)]
	if len(few) == 0 {
		return
	}
	states, err := v.client.States(ctx, few)
	for i, id := range few {
		switch {
		case err != nil:
			fmt.Fprintf(v.std.Out, "lost: %s\n", id)
		case states[i] == nil:
			fmt.Fprintf(v.std.Out, "lost: %s: nothing is known of it\n", id)
		default:
			t := cli.TaskOf(states[i])
			fmt.Fprintf(v.std.Out, "lost: %s: %s %s\n", id, t.Status, cli.Clean(t.Says()))
		}
	}
	if more := len(lost) - len(few); more > 0 {
		fmt.Fprintf(v.std.Out, "lost: %s more\n", cli.Thousands(more))
	}
}
