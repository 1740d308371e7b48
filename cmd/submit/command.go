package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const help = `Submit publishes background tasks, and can wait until they have ended.

One task comes from flags. Its id is printed once all in-sync replicas of Kafka
have it: from then on it is run to its end, whatever crashes.

Many come from --file, a line of JSON each:
  {"type": "image.resize", "params": {"image": "cat.jpg"}, "in": "5m"}
Keys are those of the flags: type, params (or params_base64), id, unique,
unique_for, again, in, run_at, deadline, max_attempts, opaque_id, content_type.
TYPE on the command line is for lines without one. A bad line is named and left
out, and the rest goes on. With --strict the whole input is checked before
anything is published: one bad line stops it all.

Results go to standard output: ids, or with --wait a line for each task that has
ended: id, status, how long it took, result or error. With --json they are
objects, one a line, with an outcome: accepted, existed, invalid, conflict,
refused, unknown, and with --wait ended or waiting.

Ctrl-C while waiting leaves the tasks alone: they go on.

` + cli.Codes

const examples = `  submit image.resize --params '{"image":"cat.jpg","width":640}' --wait
  submit image.resize --params @resize.json --unique cat.jpg --in 5m
  jq -c '{type: "image.resize", params: .}' images.json | submit --file - --wait`

// options are what the flags say.
type options struct {
	file    string
	strict  bool
	wait    bool
	timeout cli.Duration
	json    bool
	params  string
	spec    spec
}

func newCommand(std *cli.IO) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "submit [TYPE]",
		Short:   "Submit background tasks",
		Long:    help,
		Example: examples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usage("one TYPE at most, not %q: parameters go into --params", strings.Join(args, " "))
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return std.CompleteTypes(cmd)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.spec.Type = args[0]
			}
			return run(cmd, std, &o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.params, "params", "p", "", "parameters: `JSON`, @FILE, or - for standard input")
	f.StringVar(&o.spec.ID, "id", "", "`id` of the task; submitting it again has no effect")
	f.StringVar(&o.spec.Unique, "unique", "", "there is one task of the type and this `key`")
	f.StringVar(&o.spec.UniqueFor, "unique-for", "", "--unique counts within each period of this `duration`")
	f.BoolVar(&o.spec.Again, "again", false, "run the task of --unique once more when it has ended")
	f.StringVar(&o.spec.In, "in", "", "run no earlier than after this `duration`")
	f.StringVar(&o.spec.RunAt, "at", "", "run no earlier than at this `time`, such as 2026-05-01T12:00:00Z")
	f.StringVar(&o.spec.Deadline, "deadline", "", "give up what has not started by this `time`, or after a duration")
	f.IntVar(&o.spec.MaxAttempts, "max-attempts", 0, "`runs` that count, the first included; 0: as the type says")
	f.StringVar(&o.spec.OpaqueID, "opaque-id", "", "your own `mark`, kept through to the completion event")
	f.StringVar(&o.spec.ContentType, "content-type", "", "what the parameters are when they are no JSON: a media `type`")
	f.StringVarP(&o.file, "file", "f", "", "tasks as lines of JSON from this `file`; - for standard input")
	f.BoolVar(&o.strict, "strict", false, "with --file: publish nothing when a line is bad")
	f.BoolVarP(&o.wait, "wait", "w", false, "wait until the tasks have ended")
	f.Var(&o.timeout, "timeout", "with --wait: stop waiting after this; the tasks go on")
	f.BoolVar(&o.json, "json", false, "print one JSON object per task")
	cli.AddSettings(cmd, "kafka", "redis", "log")
	return cmd
}

// check finds contradictions among the flags.
func (o *options) check() error {
	many := o.file != ""
	switch {
	case !many && o.spec.Type == "":
		return cli.Usage("name a task TYPE, or give tasks by --file")
	case many && (o.params != "" || o.spec.single()):
		return cli.Usage("--file brings its own parameters, ids and times: leave the flags for one task out")
	case !many && o.strict:
		return cli.Usage("--strict goes with --file")
	case !o.wait && o.timeout != 0:
		return cli.Usage("--timeout goes with --wait")
	}
	return nil
}

// run submits what the flags say.
func run(cmd *cobra.Command, std *cli.IO, o *options) error {
	ctx := cmd.Context()
	if err := o.check(); err != nil {
		return err
	}
	input, err := o.open(std)
	if err != nil {
		return err
	}
	defer input.Close()
	session, err := std.Open(cmd)
	if err != nil {
		return err
	}
	defer session.Close(ctx)
	if err := session.Ping(ctx); err != nil {
		return err
	}
	c, err := session.Client(ctx)
	if err != nil {
		return err
	}
	s := &sender{report: newReport(std, o, cli.Given(cmd)), client: c}
	if err := s.send(ctx, input); err != nil {
		return err
	}
	if o.wait {
		s.await(ctx, std, time.Duration(o.timeout))
	}
	return s.report.end()
}

// open reads the one task of the flags, or opens the file.
func (o *options) open(std *cli.IO) (source, error) {
	if o.file == "" {
		return o.one(std)
	}
	if o.file == "-" && std.InTerminal {
		fmt.Fprintln(std.Err, "Reading tasks from the terminal, one JSON object per line. Ctrl-D ends.")
	}
	in, name := io.NopCloser(std.In), "standard input"
	if o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return nil, err
		}
		in, name = f, o.file
	}
	lines := &lines{name: name, in: in, typ: o.spec.Type, now: std.Now}
	if !o.strict {
		return lines, nil
	}
	return checked(lines, newReport(std, o, ""))
}

// one is the task that the flags describe.
func (o *options) one(std *cli.IO) (source, error) {
	params, err := o.readParams(std)
	if err != nil {
		return nil, err
	}
	submission, err := o.spec.submission(params, std.Now())
	if err != nil {
		return nil, cli.Usage("%w", err)
	}
	return &single{item: item{submission: submission}}, nil
}

// readParams reads --params, and refuses what is no JSON though it should be.
func (o *options) readParams(std *cli.IO) ([]byte, error) {
	var params []byte
	var err error
	name, isFile := strings.CutPrefix(o.params, "@")
	switch {
	case isFile:
		var f *os.File
		if f, err = os.Open(name); err == nil {
			params, err = readSmall(f)
			_ = f.Close() // it was only read
		}
	case o.params == "-":
		params, err = readSmall(std.In)
	default:
		params = []byte(o.params)
	}
	if err != nil {
		return nil, fmt.Errorf("read parameters: %w", err)
	}
	if o.spec.ContentType == "" && len(params) > 0 && !json.Valid(params) {
		return nil, cli.Usage("the parameters are no JSON (%s): quote them for your shell, or say what they are by --content-type", notJSON(params))
	}
	return params, nil
}

// readSmall reads a little more than parameters may have, so that their check
// can tell.
func readSmall(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, task.MaxParamsBytes+1))
}

// notJSON says where JSON is broken.
func notJSON(text []byte) string {
	var v any
	err := json.NewDecoder(bytes.NewReader(text)).Decode(&v)
	if err == nil {
		return "something follows it"
	}
	return err.Error()
}

// source gives submissions one after the other; io.EOF ends it.
type source interface {
	next() (item, error)
	Close() error
}

// item is a submission, or why a line is none.
type item struct {
	line       int // of the file, from 1; 0: it is from flags
	typ, id    string
	submission task.Submission
	err        error
}

// single is a source of one.
type single struct {
	item item
	gone bool
}

func (s *single) next() (item, error) {
	if s.gone {
		return item{}, io.EOF
	}
	s.gone = true
	return s.item, nil
}

func (s *single) Close() error { return nil }
