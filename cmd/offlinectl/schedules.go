package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // schedules name time zones, and not every machine has them

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/schedule"
)

func schedules(std *cli.IO) *cobra.Command {
	return cli.Group("schedules", "Show and change when tasks are submitted by themselves",
		schedulesList(std), schedulesShow(std), schedulesSet(std), schedulesDelete(std))
}

// scheduled is a schedule as --json prints it.
type scheduled struct {
	Name   string          `json:"name"`
	Cron   string          `json:"cron,omitempty"`
	Zone   string          `json:"zone,omitempty"`
	Type   string          `json:"type,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Missed schedule.Missed `json:"missed,omitempty"`
	Late   string          `json:"late,omitempty"`
	Since  time.Time       `json:"since,omitzero"`
	Next   []time.Time     `json:"next,omitempty"`
	Last   time.Time       `json:"last,omitzero"`
	TaskID string          `json:"last_task_id,omitempty"`
	By     string          `json:"by,omitempty"`
	Error  string          `json:"error,omitempty"` // why it does not run
}

// schedulesOf are the schedules that are set, by name, with their next runs.
func schedulesOf(all []dynamic, now time.Time, next int) (list []scheduled) {
	marks := map[string]schedule.Mark{}
	for _, d := range current(all) {
		if name, isMark, ok := schedule.NameOf(d.Key); ok && isMark && d.Value != nil {
			marks[name], _ = schedule.ParseMark([]byte(*d.Value)) // one that cannot be read is none
		}
	}
	for _, d := range current(all) {
		if name, isMark, ok := schedule.NameOf(d.Key); ok && !isMark && d.Value != nil {
			list = append(list, scheduledOf(name, d, marks[name], now, next))
		}
	}
	slices.SortFunc(list, func(a, b scheduled) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func scheduledOf(name string, d dynamic, mark schedule.Mark, now time.Time, next int) scheduled {
	s := scheduled{Name: name, By: d.By, TaskID: mark.Task}
	definition, err := schedule.Parse([]byte(*d.Value))
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Cron, s.Zone, s.Type, s.Params = definition.Cron, definition.Zone, definition.Type, definition.Params
	s.Missed, s.Late, s.Since = definition.Missed, time.Duration(definition.Late).String(), definition.Since
	if mark.Task != "" {
		s.Last = mark.Due.UTC()
	}
	for at := definition.Next(now); !at.IsZero() && len(s.Next) < next; at = definition.Next(at) {
		s.Next = append(s.Next, at)
	}
	return s
}

func schedulesList(std *cli.IO) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List schedules, and when each is due next",
		Args:  noArgs,
		RunE: onSettings(std, func(_ context.Context, _ *cli.Session, all []dynamic) error {
			return printSchedules(std, schedulesOf(all, std.Now(), 1), asJSON)
		}),
	}
	jsonFlag(cmd, &asJSON, "schedules")
	return cmd
}

func printSchedules(std *cli.IO, list []scheduled, asJSON bool) error {
	if len(list) == 0 {
		fmt.Fprintln(std.Err, "No schedule is set.")
	}
	if asJSON {
		return printJSON(std, list)
	}
	table := cli.NewTable(cli.Column{Title: "NAME"}, cli.Column{Title: "CRON"}, cli.Column{Title: "ZONE", Spare: true},
		cli.Column{Title: "TYPE"}, cli.Column{Title: "NEXT", Least: 12}, cli.Column{Title: "LAST", Spare: true})
	for _, s := range list {
		next := s.Error
		if len(s.Next) > 0 {
			next = s.Next[0].Format("2006-01-02 15:04 -0700")
		}
		table.Row(s.Name, s.Cron, s.Zone, s.Type, next, moment(s.Last))
	}
	return table.Write(std.Out, std.Width)
}

func schedulesShow(std *cli.IO) *cobra.Command {
	var asJSON bool
	next := 5
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a schedule and its next runs",
		Args:  one("name one schedule"),
		RunE: func(cmd *cobra.Command, names []string) error {
			if next < 1 || next > 1000 {
				return cli.Usage("--next %d: 1 to 1000", next)
			}
			return onSettings(std, func(_ context.Context, _ *cli.Session, all []dynamic) error {
				for _, s := range schedulesOf(all, std.Now(), next) {
					if s.Name == names[0] {
						return printSchedule(std, s, asJSON)
					}
				}
				return noSchedule(names[0])
			})(cmd, nil)
		},
	}
	cmd.Flags().IntVar(&next, "next", next, "how `many` of the next runs to show")
	jsonFlag(cmd, &asJSON, "the schedule")
	return cmd
}

func noSchedule(name string) error {
	return &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("no schedule is called %s", cli.Clean(name))}
}

func printSchedule(std *cli.IO, s scheduled, asJSON bool) error {
	if asJSON {
		return cli.WriteJSON(std.Out, s)
	}
	p := cli.NewPrinter(std)
	p.Line("Schedule", s.Name)
	p.Line("Error", s.Error)
	p.Line("Cron", s.Cron)
	p.Line("Zone", s.Zone)
	p.Line("Type", s.Type)
	p.Line("Parameters", string(s.Params))
	p.Line("Missed runs", string(s.Missed))
	p.Line("May be late", s.Late)
	p.Line("Set by", s.By)
	p.Line("Set at", moment(s.Since))
	p.Line("Last run", moment(s.Last))
	p.Line("Its task", s.TaskID)
	title := "Next runs"
	for _, at := range s.Next {
		p.Line(title, at.Format("Mon 2006-01-02 15:04 -0700"))
		title = ""
	}
	return nil
}

func schedulesSet(std *cli.IO) *cobra.Command {
	var d schedule.Definition
	var params, missed, by string
	late := schedule.DefaultLate
	cmd := &cobra.Command{
		Use:   "set NAME --cron EXPRESSION --type TYPE",
		Short: "Make or change a schedule",
		Long: `Make or change a schedule: whenever the cron expression says so, an offline node
submits a task of the type. The expression has five fields (minute, hour, day of month,
month, day of week), or is @hourly, @daily, @weekly, @monthly or @yearly.

Where clocks change, a time of day that does not exist is due at the change, and one
that comes twice the first time; with * as the hour the hours are taken as they pass.
Runs that could not be submitted in time are skipped, or one run makes up for all
of them (--missed once). What was due before the change is never submitted.`,
		Example: "  offlinectl schedules set nightly-gc --cron '0 3 * * *' --zone Europe/Berlin --type remote-gc",
		Args:    one("name one schedule"),
		RunE: func(cmd *cobra.Command, names []string) error {
			d.Params, d.Missed, d.Late, d.Since = nil, schedule.Missed(missed), schedule.Duration(late), std.Now().UTC().Truncate(time.Second)
			if params != "" {
				if d.Params = json.RawMessage(params); !json.Valid(d.Params) {
					return cli.Usage("--params is no JSON")
				}
			}
			if err := schedule.CheckName(names[0]); err != nil {
				return cli.Usage("%w", err)
			}
			value, err := d.Encode()
			if err != nil {
				return cli.Usage("%w", err)
			}
			if err := change(cmd, std, schedule.Key(names[0]), value, by); err != nil {
				return err
			}
			if types, _ := std.CompleteTypes(cmd); !slices.Contains(types, d.Type) {
				fmt.Fprintf(std.Err, "offlinectl: no node runs tasks of type %s now: is it spelled right?\n", d.Type)
			}
			set := string(value)
			s := scheduledOf(names[0], dynamic{Value: &set, By: orUser(by)}, schedule.Mark{}, std.Now(), 3)
			return printSchedule(std, s, false)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&d.Cron, "cron", "", "when it is due: an `expression` such as '0 3 * * *'")
	f.StringVar(&d.Zone, "zone", "", "time `zone`, as Europe/Berlin; empty: UTC")
	f.StringVar(&d.Type, "type", "", "task `type`")
	f.StringVar(&params, "params", "", "parameters of the tasks, `JSON`")
	f.StringVar(&missed, "missed", string(schedule.Skip), "what becomes of missed runs: skip or once; a `policy`")
	f.DurationVar(&late, "late", late, "how `late` a run may be and not count as missed")
	byFlag(cmd, &by)
	completeFlag(cmd, "type", completeTypes(std))
	completeFlag(cmd, "missed", cli.CompleteList([]string{string(schedule.Skip), string(schedule.Once)}))
	return cmd
}

func schedulesDelete(std *cli.IO) *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a schedule",
		Long:  "Delete a schedule. Tasks that it has submitted go on.",
		Args:  one("name one schedule"),
		RunE: func(cmd *cobra.Command, names []string) error {
			there := false
			err := onSettings(std, func(_ context.Context, _ *cli.Session, all []dynamic) error {
				there = slices.ContainsFunc(schedulesOf(all, std.Now(), 0), func(s scheduled) bool { return s.Name == names[0] })
				return nil
			})(cmd, nil)
			switch {
			case err != nil:
				return err
			case !there:
				return noSchedule(names[0])
			}
			if err := change(cmd, std, schedule.Key(names[0]), nil, by); err != nil {
				return err
			}
			return change(cmd, std, schedule.MarkKey(names[0]), nil, by)
		},
	}
	byFlag(cmd, &by)
	return cmd
}
