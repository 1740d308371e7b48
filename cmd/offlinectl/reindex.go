package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func reindexes(std *cli.IO) *cobra.Command {
	return cli.Group("reindex", "Copy shards under another mapping",
		reindexStart(std), reindexStatus(std), reindexList(std), reindexCancel(std))
}

// reindexFlags are what a reindex is started with.
type reindexFlags struct {
	params    reindex.Params
	mapping   string
	fields    map[string]string
	transform string
	conflicts string
	id        string
}

func reindexStart(std *cli.IO) *cobra.Command {
	j := &job{std: std, types: []string{reindex.Type, reindex.SliceType}}
	var o reindexFlags
	cmd := &cobra.Command{
		Use:   "start SOURCE [TARGET]",
		Short: "Copy a shard under another mapping",
		Long: `Copy the documents of a shard into another one, new or not, under another
mapping; or, without a TARGET, rebuild the shard in place. What is written
meanwhile is caught up with. Until one commit shows everything at once nobody
sees any of it, and a reindex that fails or is cancelled changes nothing.

A transform is a list of steps as JSON: rename, copy, remove, set and default.
The id of the task is printed once Kafka has it: reindex status tells how far it
is. With --wait Ctrl-C leaves it alone.`,
		Example: `  offlinectl reindex start books --field title=keyword --wait
  offlinectl reindex start books books-2 --slices 4 --query year:>1900 \
    --transform '[{"op":"rename","field":"author","to":"by.name"}]'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return cli.Usage("name a source and, unless it is rebuilt in place, a target")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.params.Source, o.params.Target = args[0], args[len(args)-1]
			err := o.read()
			if err == nil {
				err = errors.Join(o.params.Validate(), j.check())
			}
			if err != nil {
				return cli.Usage("%w", err)
			}
			if o.id == "" {
				o.id = task.NewID()
			}
			j.given = cli.Given(cmd)
			session, err := std.Open(cmd)
			if err != nil {
				return err
			}
			defer session.Close(cmd.Context())
			if session.Settings.Store.URL != "" {
				if err := isThere(cmd.Context(), session, o.params.Source); err != nil {
					return err
				}
			}
			return j.run(cmd.Context(), session, o.id, reindex.Type, o.params)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.mapping, "mapping", "", "bleve index mapping of the target: `JSON` or @FILE; default: the one that it has, or the source's")
	f.StringToStringVar(&o.fields, "field", nil, "instead of a mapping: `NAME=TYPE`, text, keyword, number, date, boolean or geo; may be repeated")
	f.StringVar(&o.params.Query, "query", "", "only documents that this `query string` finds")
	f.StringVar(&o.transform, "transform", "", "steps that change each document: `JSON` or @FILE")
	f.IntVar(&o.params.Slices, "slices", 1, "this `number` of tasks copy at the same time")
	f.Float64Var(&o.params.Rate, "rate", 0, "documents per second at most; 0: no limit")
	f.StringVar(&o.conflicts, "conflicts", string(reindex.Abort), "what to do about documents that the target has already: abort, proceed or overwrite")
	f.StringVar(&o.id, "id", "", "`id` of the task; submitting it again has no effect")
	completeFlag(cmd, "conflicts", cobra.FixedCompletions(
		[]cobra.Completion{string(reindex.Abort), string(reindex.Proceed), string(reindex.Overwrite)}, cobra.ShellCompDirectiveNoFileComp))
	j.flags(cmd)
	return cmd
}

// read takes over what flags give as text.
func (o *reindexFlags) read() error {
	o.params.Conflicts = reindex.Conflicts(o.conflicts)
	if o.mapping != "" && len(o.fields) > 0 {
		return errors.New("--mapping and --field exclude each other")
	}
	raw, err := readJSON("--mapping", o.mapping)
	if err != nil {
		return err
	}
	o.params.Mapping = raw
	if len(o.fields) > 0 {
		if o.params.Mapping, err = datanode.FieldsMapping(o.fields); err != nil {
			return err
		}
	}
	if raw, err = readJSON("--transform", o.transform); err != nil || raw == nil {
		return err
	}
	if err := json.Unmarshal(raw, &o.params.Transform); err != nil {
		return fmt.Errorf("--transform: %w", err)
	}
	return nil
}

// readJSON reads the value of a flag, from a file when it starts with @; nil when there is none.
func readJSON(flag, value string) (raw json.RawMessage, err error) {
	raw = json.RawMessage(value)
	if name, isFile := strings.CutPrefix(value, "@"); isFile {
		if raw, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
	}
	switch {
	case value == "":
		return nil, nil
	case !json.Valid(raw):
		return nil, fmt.Errorf("%s is no JSON", flag)
	}
	return raw, nil
}

// reindexState is a reindex and its slices, as --json prints it.
type reindexState struct {
	cli.Task

	Slices []cli.Task `json:"slices"` // each in its latest round
}

func reindexStatus(std *cli.IO) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status ID",
		Short: "Show how far a reindex is, slice by slice",
		Long: `Show how far a reindex is, slice by slice, or how it ended. Each slice is shown
in its latest round: the first one copies, later ones catch up with what was
written meanwhile.`,
		Args: one("name one task by its ID"),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return withClient(cmd, std, func(ctx context.Context, _ *cli.Session, c *client.Client) error {
				state, err := stateOfReindex(ctx, c, ids[0])
				switch {
				case err != nil:
					return err
				case state == nil:
					return &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("%s: %s", ids[0], nothingKnown(ctx, c, ids[0], false))}
				case asJSON:
					return cli.WriteJSON(std.Out, state)
				}
				state.Print(std)
				if len(state.Slices) == 0 {
					return nil
				}
				fmt.Fprintln(std.Out)
				return cli.TaskTable(state.Slices, std.Now()).Write(std.Out, std.Width)
			})
		},
	}
	jsonFlag(cmd, &asJSON, "the reindex with its slices")
	return cmd
}

// stateOfReindex asks for a reindex and for all children that it can have; nil if nothing is known of it.
func stateOfReindex(ctx context.Context, c *client.Client, id string) (*reindexState, error) {
	ids, slice := []string{id}, map[string]int{}
	for i := range reindex.MaxSlices {
		for round := range reindex.MaxRounds {
			child := id + "/" + reindex.ChildName(i, round)
			ids, slice[child] = append(ids, child), i
		}
	}
	states, err := c.States(ctx, ids)
	if err != nil || states[0] == nil {
		return nil, err
	}
	if states[0].Type != reindex.Type {
		return nil, &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("%s is a task of type %s", id, states[0].Type)}
	}
	latest := map[int]cli.Task{}
	for _, s := range states[1:] {
		if s != nil {
			latest[slice[s.ID]] = cli.TaskOf(s)
		}
	}
	state := &reindexState{Task: cli.TaskOf(states[0]), Slices: []cli.Task{}}
	for _, i := range slices.Sorted(maps.Keys(latest)) {
		state.Slices = append(state.Slices, latest[i])
	}
	return state, nil
}

func reindexList(std *cli.IO) *cobra.Command {
	cmd := tasksList(std)
	cmd.Short = "List reindexes"
	cmd.Long = "List reindexes: as tasks list does with --type reindex."
	cmd.Example = "  offlinectl reindex list --status ACTIVE"
	typ := cmd.Flag("type")
	typ.Hidden = true
	if err := typ.Value.Set(reindex.Type); err != nil {
		panic(err) // it is a text
	}
	return cmd
}

func reindexCancel(std *cli.IO) *cobra.Command {
	cmd := tasksCancel(std)
	cmd.Short = "Ask for reindexes to end"
	cmd.Long = `Ask for reindexes to end, and their slices with them. The target stays as it is.
One that has made its switch has succeeded.`
	return cmd
}
