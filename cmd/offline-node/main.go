// Offline-node runs the background tasks of a search engine's data nodes.
//
//	offline-node run --config config.yml     one node of the fleet
//	offline-node demo                        the whole story, in one go
//	offline-node config                      the settings as they are understood
//
// It ends with 0 after an orderly stop, 1 when the settings are wrong, 2 when
// it lost what it needs (a topic was deleted, the rights are gone), 3 when a
// worker would not stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/demo"
	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/node"
)

// Exit codes.
const (
	exitSettings = 1
	exitLost     = 2
	exitStuck    = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	root := &cobra.Command{
		Use:           "offline-node",
		Short:         "Run background tasks off a search engine's data nodes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), configCommand(), embeddedCommand(), demo.Command())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "offline-node:", err)
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, node.ErrStuck):
		return exitStuck
	case errors.Is(err, errLost):
		return exitLost
	}
	return exitSettings
}

func configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Print the settings as they are understood, without secrets",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := config.Load(config.Sources{Flags: c.Flags()})
			if err != nil {
				return err
			}
			return settings.Dump(c.OutOrStdout())
		},
	}
	config.AddFlags(c.Flags())
	return c
}

func embeddedCommand() *cobra.Command {
	var options embedded.Options
	var ready string
	c := &cobra.Command{
		Use:   "embedded",
		Short: "Run a Kafka broker and a Redis in this process, for trying things out",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return embedded.Run(c.Context(), options, ready)
		},
	}
	c.Flags().StringVar(&options.KafkaAddr, "kafka", "127.0.0.1:9092", "host:port of the broker; port 0 takes a free one")
	c.Flags().StringVar(&options.RedisAddr, "redis", "127.0.0.1:6379", "host:port of Redis; port 0 takes a free one")
	c.Flags().StringVar(&options.DataDir, "data", "", "folder that keeps the topics between starts; empty: none")
	c.Flags().StringVar(&ready, "ready-file", "", "file that holds the addresses, as JSON, once both answer")
	return c
}
