package main

import (
	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
)

const help = `Offlinectl looks at background tasks, the nodes that run them and dead letters,
and acts on them. With --json every command prints one object per line.

` + cli.Codes

func newCommand(std *cli.IO) *cobra.Command {
	root := cli.Group("offlinectl", "Look at background tasks and act on them",
		cli.Group("tasks", "Show, follow and cancel tasks",
			tasksGet(std), tasksList(std), tasksWatch(std), tasksCancel(std)),
		nodes(std),
		cli.Group("dead-letters", "Show tasks that were given up, and run them again",
			lettersList(std), lettersShow(std), lettersRedrive(std)),
		shards(std),
		snapshots(std),
		reindexes(std),
		cli.Group("topics", "Make the topics of task types", topicsEnsure(std)),
		schedules(std),
		cli.Group("gc", "Delete what nobody needs from the store", gcRunCommand(std), gcStatusCommand(std)),
		dynamicSettings(std),
		doctor(std),
		verify(std),
	)
	root.Long = help
	cli.AddSettings(root, "kafka", "redis", "store", "repository", "log")
	return root
}

// jsonFlag gives a command --json.
func jsonFlag(cmd *cobra.Command, to *bool, prints string) {
	cmd.Flags().BoolVar(to, "json", false, "print "+prints+" as JSON, one per line")
}

// one refuses a command line that does not have exactly one argument, with what it is to be.
func one(says string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return cli.Usage("%s", says)
		}
		return nil
	}
}

// printJSON prints a list, one object per line.
func printJSON[T any](std *cli.IO, list []T) error {
	for _, v := range list {
		if err := cli.WriteJSON(std.Out, v); err != nil {
			return err
		}
	}
	return nil
}

// needIDs refuses a command line without task ids.
func needIDs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cli.Usage("name a task by its ID")
	}
	return nil
}
