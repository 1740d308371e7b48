package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// job is a task that a command submits, and may wait for.
type job struct {
	std     *cli.IO
	types   []string // whose topics are made where they are missing
	wait    bool
	timeout cli.Duration
	json    bool
	given   string // settings on the command line

	// report, if set, shows a task that ended well in place of a line, and tells whether its result is good.
	report func(*cli.Task) error
}

func (j *job) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&j.wait, "wait", "w", false, "wait until it has ended; Ctrl-C leaves it alone")
	cmd.Flags().Var(&j.timeout, "timeout", "with --wait: stop waiting after this; it goes on")
	jsonFlag(cmd, &j.json, "the task")
}

func (j *job) check() error {
	if j.timeout != 0 && !j.wait {
		return cli.Usage("--timeout goes with --wait")
	}
	return nil
}

// run submits a task under an id of its own.
func (j *job) run(ctx context.Context, s *cli.Session, id, typ string, params any) error {
	submission, err := task.NewSubmission(typ, params, task.ID(id))
	if err != nil {
		return err
	}
	return j.submit(ctx, s, submission)
}

func (j *job) submit(ctx context.Context, s *cli.Session, submission task.Submission) error {
	if err := s.Ping(ctx); err != nil {
		return err
	}
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	if err := makeTopics(ctx, s, j.types); err != nil {
		return err
	}
	r := c.SubmitBatch(ctx, []task.Submission{submission})[0]
	if r.Err != nil {
		return j.refused(r.ID, fmt.Errorf("submit %s %s: %w", submission.Type, r.ID, r.Err))
	}
	if r.Existed {
		fmt.Fprintf(j.std.Err, "%s is there already\n", r.ID)
	}
	if j.wait {
		return j.await(ctx, c, client.Awaited{ID: r.ID, Replay: r.Replay})
	}
	if j.json {
		return cli.WriteJSON(j.std.Out, map[string]string{"task_id": r.ID, "type": submission.Type})
	}
	fmt.Fprintln(j.std.Out, r.ID)
	return nil
}

// makeTopics makes topics where they are missing: the task may be there before the first node. What could be better
// about them is for doctor to say.
func makeTopics(ctx context.Context, s *cli.Session, types []string) error {
	cfg := s.Kafka
	cfg.Log = nil
	admin, err := kafkaqueue.OpenAdmin(cfg)
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(ctx, ensureTime)
	defer cancel()
	return admin.Ensure(ctx, types)
}

// refused says what to do about a task that is not known to be accepted.
func (j *job) refused(id string, err error) error {
	if errors.Is(err, client.ErrUnknown) {
		return &cli.ExitError{Code: cli.Unknown, Err: fmt.Errorf("%w\n  whether Kafka has the task is not known: offlinectl%s tasks get %s", err, j.given, id)}
	}
	return &cli.ExitError{Code: cli.Failed, Err: err}
}

// await follows the task until it has ended.
func (j *job) await(ctx context.Context, c *client.Client, awaited client.Awaited) error {
	if j.timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(j.timeout))
		defer cancel()
		ctx = limited
	}
	following, err := cli.Follow(ctx, j.std, c, []client.Awaited{awaited}, func(int, *cli.Task) string { return "" })
	if err == nil || len(following.Left()) == 0 {
		return j.end(&following.Last[0])
	}
	how := "stopped waiting"
	if errors.Is(err, context.DeadlineExceeded) {
		how = "the timeout is over"
	}
	fmt.Fprintf(j.std.Err, "offlinectl: %s: the task goes on\n", how)
	if j.json {
		if err := cli.WriteJSON(j.std.Out, map[string]string{"task_id": awaited.ID}); err != nil {
			return err
		}
	}
	j.std.Advise([]string{awaited.ID}, "", j.given)
	return cli.End(cli.Unknown)
}

// end shows how a task has ended.
func (j *job) end(t *cli.Task) error {
	var bad error
	switch {
	case j.json:
		bad = cli.WriteJSON(j.std.Out, t)
	case j.report == nil || t.Status != task.Success:
		fmt.Fprintln(j.std.Out, t.Line(j.std.Now()))
	}
	if j.report != nil && t.Status == task.Success {
		bad = errors.Join(bad, j.report(t))
	}
	return errors.Join(bad, cli.End(t.Code()))
}
