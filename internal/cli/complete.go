package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Statuses and Reasons complete flags.
var (
	Statuses = []cobra.Completion{"UNASSIGNED", "ASSIGNED", "ACTIVE", "SUCCESS", "FAILED", "CANCELLED"}
	Reasons  = []cobra.Completion{
		cobra.CompletionWithDesc(string(task.RetriesExhausted), "the last attempt failed"),
		cobra.CompletionWithDesc(string(task.PermanentFailure), "its worker said that no retry can help"),
		cobra.CompletionWithDesc(string(task.WorkerLost), "its worker's process vanished too often"),
		cobra.CompletionWithDesc(string(task.Expired), "its deadline passed before it could start"),
		cobra.CompletionWithDesc(string(task.Undecodable), "its record cannot be read"),
		cobra.CompletionWithDesc(string(task.Unroutable), "its target topic refuses it for good"),
		cobra.CompletionWithDesc(string(task.IDConflict), "another task with other parameters has its id"),
		cobra.CompletionWithDesc(string(task.TooLarge), "over a limit"),
	}
)

// completionTime is how long a shell waits for Redis when it completes.
const completionTime = time.Second

// CompleteTypes completes task types: those that nodes run, when Redis
// answers soon, and those that the settings name.
func (std *IO) CompleteTypes(cmd *cobra.Command) ([]cobra.Completion, cobra.ShellCompDirective) {
	return std.complete(cmd, func(ctx context.Context, s *Session) []string { return s.Types(ctx) })
}

// CompleteNodes completes the names of live nodes, when Redis answers soon.
func (std *IO) CompleteNodes(cmd *cobra.Command) ([]cobra.Completion, cobra.ShellCompDirective) {
	return std.complete(cmd, func(ctx context.Context, s *Session) (names []string) {
		for _, n := range s.nodes(ctx) {
			names = append(names, n.Name)
		}
		return names
	})
}

func (std *IO) complete(cmd *cobra.Command, find func(ctx context.Context, s *Session) []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	session, err := std.Open(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	defer session.Close(ctx)
	return find(ctx, session), cobra.ShellCompDirectiveNoFileComp
}

// Types are the task types that live nodes run, as far as Redis tells, and
// those that the settings name.
func (s *Session) Types(ctx context.Context) []string {
	var types []string
	for _, n := range s.nodes(ctx) {
		types = append(types, n.Types...)
	}
	return s.Configured(types)
}

// Configured are these types and those that the settings name, sorted.
func (s *Session) Configured(types []string) []string {
	types = slices.Concat(types, s.Settings.Node.Types, slices.Collect(maps.Keys(s.Settings.Types)))
	slices.Sort(types)
	return slices.Compact(types)
}

// nodes are the live nodes; none when Redis does not tell.
func (s *Session) nodes(ctx context.Context) []claims.Node {
	c, err := s.Client(ctx)
	if err != nil {
		return nil
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil
	}
	return nodes
}

// CompleteList completes a flag that takes several values between commas.
func CompleteList(choices []cobra.Completion) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		completions := make([]cobra.Completion, len(choices))
		for i, c := range choices {
			completions[i] = before + c
		}
		return completions, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}
