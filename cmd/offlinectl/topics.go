package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
)

// ensureTime is how long topics may take to be there.
const ensureTime = 30 * time.Second

func topicsEnsure(std *cli.IO) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ensure TYPE…",
		Short: "Make the topics of task types where they are missing",
		Long: `Make the topics of task types, and those that all types share, where they are
missing: partitions, replication and retention are those of the settings
(kafka.topics). Topics that exist are compared, not changed: what endangers a
promise is named. Nodes do the same when they start.`,
		Example: "  offlinectl topics ensure image.resize --kafka.topics.partitions 12",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usage("name a task TYPE")
			}
			return nil
		},
		ValidArgsFunction: completeTypes(std),
		RunE: func(cmd *cobra.Command, types []string) error {
			session, err := std.Open(cmd)
			if err != nil {
				return err
			}
			if err := session.Ping(cmd.Context()); err != nil {
				return err
			}
			return ensure(cmd.Context(), session, types)
		},
	}
	return cmd
}

// ensure makes topics, and tells whether they could be safer.
func ensure(ctx context.Context, s *cli.Session, types []string) error {
	cfg := s.Kafka
	cfg.Log = nil // what it would say is counted below
	admin, err := kafkaqueue.OpenAdmin(cfg)
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(ctx, ensureTime)
	defer cancel()
	if err := admin.Ensure(ctx, types); err != nil {
		return err
	}
	for _, typ := range types {
		fmt.Fprintf(s.Out, "%s has its topics\n", typ)
	}
	findings, err := admin.Check(ctx, types)
	if err == nil && len(findings) > 0 {
		fmt.Fprintf(s.Err, "They could be safer in %s: see offlinectl doctor --type %s\n", cli.Count(len(findings), "way"), strings.Join(types, ","))
	}
	return nil
}
