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
	if _, err := c.Submit(ctx, typ, params, task.ID(id)); err != nil {
		return j.refused(id, err)
	}
	if j.wait {
		return j.await(ctx, c, id)
	}
	if j.json {
		return cli.WriteJSON(j.std.Out, map[string]string{"task_id": id, "type": typ})
	}
	fmt.Fprintln(j.std.Out, id)
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
func (j *job) await(ctx context.Context, c *client.Client, id string) error {
	if j.timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(j.timeout))
		defer cancel()
		ctx = limited
	}
	code := cli.Done
	following, err := cli.Follow(ctx, j.std, c, []client.Awaited{{ID: id}}, func(_ int, t *cli.Task) string {
		switch {
		case !t.Status.Terminal():
			return ""
		case j.json:
			code = t.Code()
			return cli.JSON(t)
		}
		code = t.Code()
		return t.Line(j.std.Now())
	})
	if err == nil || len(following.Left()) == 0 {
		return cli.End(code)
	}
	how := "stopped waiting"
	if errors.Is(err, context.DeadlineExceeded) {
		how = "the timeout is over"
	}
	fmt.Fprintf(j.std.Err, "offlinectl: %s: the task goes on\n", how)
	if j.json {
		if err := cli.WriteJSON(j.std.Out, map[string]string{"task_id": id}); err != nil {
			return err
		}
	}
	j.std.Advise([]string{id}, "", j.given)
	return cli.End(cli.Unknown)
}
