// Command data-node writes and searches shards that live in an object store, and has their segments merged on offline
// nodes, or here when there are none.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "data-node:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "data-node",
		Short: "Index and search shards over HTTP; merge them on offline nodes",
		Long: `Index and search shards over HTTP; merge them on offline nodes.

  data-node --store.url file:///var/lib/shards
  curl -X PUT localhost:9470/shards/books
  curl localhost:9470/shards/books/_bulk --data-binary @books.ndjson
  curl 'localhost:9470/shards/books/_search?q=moon'

Without Kafka and Redis it works too: everything is merged here.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("listen") {
				if err := c.Flags().Set("data_node.listen", listen); err != nil {
					return err
				}
			}
			settings, err := config.Load(config.Sources{Flags: c.Flags()})
			if err != nil {
				return err
			}
			return run(c.Context(), settings)
		},
	}
	config.AddFlags(c.Flags())
	c.Flags().StringVar(&listen, "listen", "", "short for --data_node.listen")
	return c
}
