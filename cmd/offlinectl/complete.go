package main

import (
	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
)

// completeFlag completes a flag's value.
func completeFlag(cmd *cobra.Command, name string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
		panic(err) // the program has no such flag
	}
}

func completeTypes(std *cli.IO) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return std.CompleteTypes(cmd)
	}
}

func completeNodes(std *cli.IO) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return std.CompleteNodes(cmd)
	}
}
