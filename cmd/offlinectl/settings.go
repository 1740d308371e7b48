package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

// setTime is how long Kafka may take to accept a setting.
const setTime = 10 * time.Second

// definitions are the dynamic settings of all programs.
func definitions() []settings.Definition {
	return slices.Concat(datanode.Definitions(), reindex.Definitions())
}

func dynamicSettings(std *cli.IO) *cobra.Command {
	return cli.Group("settings", "Show and change what all processes follow while they run",
		settingsList(std), settingsGet(std), settingsSet(std), settingsUnset(std), settingsHistory(std))
}

// dynamic is a setting as --json prints it.
type dynamic struct {
	Key         string    `json:"key"`
	Value       *string   `json:"value"` // null: not set, each process has its own or the default
	Default     string    `json:"default,omitempty"`
	Description string    `json:"description,omitempty"`
	Replaced    *string   `json:"replaced,omitempty"`
	By          string    `json:"by,omitempty"`
	At          time.Time `json:"at,omitzero"`
}

func dynamicOf(v kafkaqueue.SettingVersion) dynamic {
	return dynamic{Key: v.Key, Value: orNull(v.Value), Replaced: orNull(v.Replaced), By: v.By, At: v.At.UTC().Truncate(time.Millisecond)}
}

func orNull(value []byte) *string {
	if value == nil {
		return nil
	}
	text := string(value)
	return &text
}

func orText(value *string, otherwise string) string {
	if value == nil {
		return otherwise
	}
	return *value
}

// versions reads what is kept of the settings, the oldest first.
func versions(ctx context.Context, s *cli.Session) (all []dynamic, err error) {
	if err := s.Ping(ctx); err != nil {
		return nil, err
	}
	err = kafkaqueue.ReadSettings(ctx, s.Kafka, func(v kafkaqueue.SettingVersion) error {
		all = append(all, dynamicOf(v))
		return nil
	})
	if errors.Is(err, kafkaqueue.ErrNoTopic) {
		return nil, nil // nobody has made it: nothing was ever set
	}
	return all, err
}

// current are the settings: those that are defined, and then what else is set.
func current(all []dynamic) (list []dynamic) {
	set := map[string]dynamic{}
	for _, d := range all {
		if set[d.Key] = d; d.Value == nil {
			delete(set, d.Key)
		}
	}
	for _, def := range definitions() {
		d := set[def.Key]
		delete(set, def.Key)
		d.Key, d.Default, d.Description = def.Key, def.Default, def.Description
		list = append(list, d)
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		list = append(list, set[key])
	}
	return list
}

// onSettings runs f with what is kept of the settings.
func onSettings(std *cli.IO, f func(ctx context.Context, s *cli.Session, all []dynamic) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		session, err := std.Open(cmd)
		if err != nil {
			return err
		}
		all, err := versions(cmd.Context(), session)
		if err != nil {
			return err
		}
		return f(cmd.Context(), session, all)
	}
}

func settingsList(std *cli.IO) *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dynamic settings",
		Long: `List dynamic settings: what is set for all processes, by whom and when, and the
default where nothing is set (a process may be configured otherwise). What belongs to
others, such as schedules, is listed as it is.`,
		Args: noArgs,
		RunE: onSettings(std, func(_ context.Context, _ *cli.Session, all []dynamic) error {
			return printSettings(std, current(all), json)
		}),
	}
	jsonFlag(cmd, &json, "settings")
	return cmd
}

func printSettings(std *cli.IO, list []dynamic, json bool) error {
	if json {
		return printJSON(std, list)
	}
	table := cli.NewTable(
		cli.Column{Title: "KEY"}, cli.Column{Title: "VALUE", Least: 12}, cli.Column{Title: "DEFAULT", Spare: true},
		cli.Column{Title: "SET"}, cli.Column{Title: "BY", Least: 8, Spare: true},
	)
	for _, d := range list {
		table.Row(d.Key, orText(d.Value, "-"), d.Default, cli.Since(std.Now(), d.At), d.By)
	}
	return table.Write(std.Out, std.Width)
}

func settingsGet(std *cli.IO) *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:               "get KEY",
		Short:             "Show a setting",
		Args:              one("name one KEY"),
		ValidArgsFunction: completeSettings,
		RunE: func(cmd *cobra.Command, keys []string) error {
			return onSettings(std, func(_ context.Context, _ *cli.Session, all []dynamic) error {
				for _, d := range current(all) {
					if d.Key == keys[0] {
						return printSetting(std, d, json)
					}
				}
				return &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("%s is not set, and no such setting is known", cli.Clean(keys[0]))}
			})(cmd, nil)
		},
	}
	jsonFlag(cmd, &json, "the setting")
	return cmd
}

func printSetting(std *cli.IO, d dynamic, json bool) error {
	if json {
		return cli.WriteJSON(std.Out, d)
	}
	p := cli.NewPrinter(std)
	p.Line("Setting", d.Key)
	p.Line("Is", d.Description)
	p.Line("Value", orText(d.Value, "not set"))
	p.Line("Default", d.Default)
	p.Line("Set by", d.By)
	p.Time("Set at", d.At)
	return nil
}

func settingsSet(std *cli.IO) *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "Set a setting for all processes",
		Long: `Set a setting for all processes: those that run follow it at once. A value that
is not allowed is refused, and says why.`,
		Example: "  offlinectl settings set offline.merge always\n  offlinectl settings set local.merge_rate 64MiB",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return cli.Usage("give a KEY and its VALUE")
			}
			return nil
		},
		ValidArgsFunction: completeSettings,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := settings.Check(definitions(), args[0], args[1]); err != nil {
				return cli.Usage("%w", err)
			}
			return change(cmd, std, args[0], []byte(args[1]), by)
		},
	}
	byFlag(cmd, &by)
	return cmd
}

func settingsUnset(std *cli.IO) *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use:               "unset KEY",
		Short:             "Go back to what each process is configured with",
		Args:              one("name one KEY"),
		ValidArgsFunction: completeSettings,
		RunE: func(cmd *cobra.Command, keys []string) error {
			if !slices.ContainsFunc(definitions(), func(d settings.Definition) bool { return d.Key == keys[0] }) {
				return cli.Usage("%w: %q; settings list shows what there is", settings.ErrUnknownKey, keys[0])
			}
			return change(cmd, std, keys[0], nil, by)
		},
	}
	byFlag(cmd, &by)
	return cmd
}

func byFlag(cmd *cobra.Command, by *string) {
	cmd.Flags().StringVar(by, "by", "", "`who` sets it, for the history; empty: the user of this process")
}

// change stores a setting, nil to unset it.
func change(cmd *cobra.Command, std *cli.IO, key string, value []byte, by string) error {
	session, err := std.Open(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := session.Ping(ctx); err != nil {
		return err
	}
	producer, err := kafkaqueue.NewProducer(session.Kafka)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = producer.Close(ctx) // the call has had its answer
	}()
	ctx, cancel := context.WithTimeout(ctx, setTime)
	defer cancel()
	err = producer.SetBy(ctx, key, value, orUser(by))
	if errors.Is(err, kafkaqueue.ErrUnknown) {
		return &cli.ExitError{Code: cli.Unknown, Err: err}
	}
	return err
}

func orUser(by string) string {
	if by != "" {
		return by
	}
	u, err := user.Current()
	if err != nil {
		return "offlinectl"
	}
	return u.Username
}

func settingsHistory(std *cli.IO) *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:   "history [KEY]",
		Short: "Show who changed settings, and when",
		Long: `Show who changed settings and when, the last change first: a week of changes at
least, and of each setting the last one. "…" stands for a value that is not kept any
more.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usage("name one KEY, or none for all")
			}
			return nil
		},
		ValidArgsFunction: completeSettings,
		RunE: func(cmd *cobra.Command, keys []string) error {
			return onSettings(std, func(_ context.Context, _ *cli.Session, all []dynamic) error {
				if len(keys) == 1 {
					all = slices.DeleteFunc(all, func(d dynamic) bool { return d.Key != keys[0] })
				}
				return printHistory(std, all, json)
			})(cmd, nil)
		},
	}
	jsonFlag(cmd, &json, "changes")
	return cmd
}

func printHistory(std *cli.IO, all []dynamic, json bool) error {
	table := cli.NewTable(
		cli.Column{Title: "WHEN"}, cli.Column{Title: "BY", Least: 8}, cli.Column{Title: "KEY"},
		cli.Column{Title: "BEFORE", Least: 8}, cli.Column{Title: "AFTER", Least: 8},
	)
	seen := map[string]bool{}
	before := make([]string, len(all))
	for i, d := range all {
		if before[i] = orText(d.Replaced, "unset"); d.Replaced == nil && !seen[d.Key] {
			before[i] = "…"
		}
		seen[d.Key] = true
	}
	for i, d := range slices.Backward(all) {
		if json {
			if err := cli.WriteJSON(std.Out, d); err != nil {
				return err
			}
			continue
		}
		table.Row(cli.Stamp(d.At), d.By, d.Key, before[i], orText(d.Value, "unset"))
	}
	switch {
	case json:
		return nil
	case len(all) == 0:
		fmt.Fprintln(std.Err, "Nothing was changed, as far as is known.")
		return nil
	}
	return table.Write(std.Out, std.Width)
}

func completeSettings(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var keys []cobra.Completion
	if len(args) == 0 {
		for _, d := range definitions() {
			keys = append(keys, cobra.CompletionWithDesc(d.Key, d.Description))
		}
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
}
