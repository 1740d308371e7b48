package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// Severities of a finding.
const (
	fine    = "ok"
	notice  = "notice"  // worth knowing
	warning = "warning" // a fault will cost more than it must
	problem = "error"   // a promise does not hold
)

// finding is what --json prints: one thing that was looked at.
type finding struct {
	Severity string `json:"severity"`
	Where    string `json:"where"` // kafka, redis, nodes or store
	What     string `json:"what"`
	Advice   string `json:"advice,omitempty"`
}

// checks gathers findings.
type checks struct {
	std      *cli.IO
	session  *cli.Session
	types    []string
	findings []finding
}

func doctor(std *cli.IO) *cobra.Command {
	var types []string
	var json, noStore bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what endangers a promise, and say what to do",
		Long: `Look at Kafka (its answers, topics, settings, lost replicas, records that
retention took before they were run), at Redis (its answers, eviction,
persistence, memory, version, clock), at the nodes, and at the object store when
store.url is set: its self-test writes some 40 MB and removes them.

Task types are those of the live nodes, of the settings and of --type. An error
means that a promise does not hold, and ends the program with 1. A warning costs
something when things go wrong; a notice is worth knowing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			session, err := std.Open(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			defer session.Close(ctx)
			c := &checks{std: std, session: session, types: types}
			c.redis(ctx)
			c.kafka(ctx)
			if !noStore {
				c.store(ctx)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return c.print(json)
		},
	}
	cmd.Flags().StringSliceVar(&types, "type", nil, "look at these task `types`, too")
	cmd.Flags().BoolVar(&noStore, "no-store", false, "leave out the object store's self-test")
	jsonFlag(cmd, &json, "findings")
	completeFlag(cmd, "type", completeTypes(std))
	return cmd
}

func (c *checks) add(severity, where, what, advice string) {
	c.findings = append(c.findings, finding{severity, where, what, advice})
}

// redis looks at Redis and, with its help, at the nodes.
func (c *checks) redis(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	addrs := strings.Join(c.session.Claims.Addrs, ",")
	store, err := claims.Open(ctx, c.session.Claims)
	switch {
	case errors.Is(err, claims.ErrEvicting):
		c.add(problem, "redis", err.Error(), "CONFIG SET maxmemory-policy noeviction; nodes refuse to start until then")
		return
	case err != nil:
		c.add(problem, "redis", fmt.Sprintf("%s: %v", addrs, err), "check redis.addrs, the password and redis.tls; tasks are accepted but none is run until it is back")
		return
	}
	defer store.Close()
	before := len(c.findings)
	for _, f := range store.Check(ctx) {
		severity := map[claims.Severity]string{claims.Notice: notice, claims.Warning: warning, claims.Problem: problem}[f.Severity]
		c.add(severity, "redis", f.What, f.Advice)
	}
	if !c.worse(before, notice) {
		c.add(fine, "redis", addrs+" answers and keeps what it is given", "")
	}
	c.nodes(ctx, store)
}

// worse tells whether a finding since then is more than of this severity.
func (c *checks) worse(since int, than string) bool {
	rank := map[string]int{fine: 0, notice: 1, warning: 2, problem: 3}
	for _, f := range c.findings[since:] {
		if rank[f.Severity] > rank[than] {
			return true
		}
	}
	return false
}

func (c *checks) nodes(ctx context.Context, store *claims.Store) {
	nodes, err := store.Nodes(ctx)
	switch {
	case err != nil:
		c.add(problem, "nodes", err.Error(), "look at Redis")
	case len(nodes) == 0:
		c.add(notice, "nodes", "no node is alive", "tasks wait until one is: offline-node run")
	default:
		c.add(fine, "nodes", cli.Count(len(nodes), "node")+" alive", "")
	}
	names := map[string]int{}
	for _, n := range nodes {
		if names[n.Name]++; names[n.Name] == 2 {
			c.add(warning, "nodes", fmt.Sprintf("several nodes have the name %q", n.Name), "give each a node.name of its own: logs and tasks cannot tell them apart")
		}
		c.types = append(c.types, n.Types...)
	}
}

// kafka looks at brokers, topics and groups.
func (c *checks) kafka(ctx context.Context) {
	brokers := strings.Join(c.session.Kafka.Brokers, ",")
	if err := c.session.Ping(ctx); err != nil {
		c.add(problem, "kafka", fmt.Sprintf("%s: %v", brokers, rootCause(err)), "check kafka.brokers, kafka.tls and kafka.sasl; nothing is accepted until it is back")
		return
	}
	admin, err := kafkaqueue.OpenAdmin(c.session.Kafka)
	if err != nil {
		c.add(problem, "kafka", err.Error(), "check the settings")
		return
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	types := c.session.Configured(c.types)
	findings, err := admin.Check(ctx, types)
	if err != nil {
		c.add(problem, "kafka", err.Error(), "give this user the right to describe topics, groups and their settings")
		return
	}
	before := len(c.findings)
	for _, f := range findings {
		severity := warning
		if f.Severity == kafkaqueue.SeverityError {
			severity = problem
		}
		c.add(severity, "kafka", f.What, f.Advice)
	}
	if !c.worse(before, notice) {
		what := brokers + " answers"
		if len(types) > 0 {
			what += "; topics of " + strings.Join(types, ", ") + " are as they should be"
		}
		c.add(fine, "kafka", what, "")
	}
	if len(types) == 0 {
		c.add(notice, "kafka", "no task type is known, so no topic was looked at", "name types by --type, or start a node")
	}
}

// rootCause leaves out the advice that a session adds for people.
func rootCause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// store proves that the object store keeps its promises.
func (c *checks) store(ctx context.Context) {
	cfg, err := c.session.Settings.Store.Config()
	if errors.Is(err, config.ErrNoStore) {
		return
	}
	var store remotestore.Store
	if err == nil {
		store, err = remotestore.Open(ctx, cfg)
	}
	if err == nil {
		progress := cli.NewProgress(c.std)
		progress.Show("testing the object store …")
		limited, cancel := context.WithTimeout(ctx, 5*time.Minute)
		err = remotestore.SelfTest(limited, store)
		cancel()
		progress.Clear()
	}
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, remotestore.ErrUnfit):
		c.add(problem, "store", err.Error(), "shards must not be kept there: commits would be lost")
	case err != nil:
		c.add(problem, "store", err.Error(), "check store.url, its keys and their rights; tasks that need shards fail until it is back")
	default:
		c.add(fine, "store", cfg.URL+" passed its self-test", "")
	}
}

// print writes the findings, the worst first.
func (c *checks) print(json bool) error {
	rank := []string{problem, warning, notice, fine}
	slices.SortStableFunc(c.findings, func(a, b finding) int {
		return slices.Index(rank, a.Severity) - slices.Index(rank, b.Severity)
	})
	if json {
		for _, f := range c.findings {
			if err := cli.WriteJSON(c.std.Out, f); err != nil {
				return err
			}
		}
	} else {
		for _, group := range alike(c.findings) {
			c.say(group)
		}
	}
	if c.worse(0, warning) {
		return cli.End(cli.NotDone)
	}
	return nil
}

// alike groups findings with the same advice, each where its first one is.
func alike(findings []finding) (groups [][]finding) {
	place := map[finding]int{}
	for _, f := range findings {
		key := f
		key.What = ""
		i, known := place[key]
		if !known {
			i = len(groups)
			place[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

// say writes findings that are alike as wrapped text: their advice must be
// read whole.
func (c *checks) say(findings []finding) {
	const indent = "                "
	width := 80
	if c.std.Width > 0 {
		width = c.std.Width
	}
	var text []string
	for _, f := range findings {
		text = append(text, cli.Wrap(cli.CleanLines(f.What), width-len(indent))...)
	}
	first := findings[0]
	fmt.Fprintf(c.std.Out, "%-7s  %-5s  %s\n", first.Severity, first.Where, strings.Join(text, "\n"+indent))
	if first.Advice != "" {
		advice := cli.Wrap("→ "+cli.CleanLines(first.Advice), width-len(indent)-2)
		fmt.Fprintf(c.std.Out, "%s%s\n", indent, strings.Join(advice, "\n"+indent+"  "))
	}
}
