package demo

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
)

// Command is the subcommand that runs the demo.
func Command() *cobra.Command {
	var o Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job: merge elsewhere, kill the node that merges, count everything",
		Long: `Show the main job on this machine, with processes that stand for machines.

A data node indexes and searches real documents (the declarations of the
installed Go's source, or your own) while two offline nodes merge its segments.
The node that is merging is killed; the other one takes over. In the end every
document is counted. Broker, Redis and object store run here, too, unless real
ones are named; whatever the demo makes there is removed again. Credentials
come from the environment, such as OFFLINE_STORE__ACCESS_KEY.

It takes under three minutes, and ends with 1 when something did not hold.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = c.OutOrStdout()
			if o.Out == os.Stdout {
				o.Columns = cli.System().Width
			}
			return Run(c.Context(), o)
		},
	}
	set := c.Flags()
	set.StringVar(&o.Kafka, "kafka", "", "brokers to use instead of the embedded one, host:port, separated by commas")
	set.StringVar(&o.Redis, "redis", "", "Redis to use instead of the embedded one, host:port")
	set.StringVar(&o.S3, "s3", "", "object store to use instead of a folder, as s3://bucket/prefix?endpoint=…")
	set.StringVar(&o.Corpus, "corpus", "", "file or folder with documents: Go files, text, or JSON with an object per line")
	set.IntVar(&o.Documents, "docs", 0, "documents to write at first; 0: as many as fit the time")
	set.BoolVar(&o.JSON, "json", false, "print the table as one JSON object, too, on the last line")
	set.BoolVar(&o.Keep, "keep", false, "leave data and logs when it is over")
	return c
}
