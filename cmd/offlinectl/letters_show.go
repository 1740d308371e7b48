package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// maxShownBytes of parameters that are no text are shown.
const maxShownBytes = 1 << 10

func lettersShow(std *cli.IO) *cobra.Command {
	var raw, asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a task that was given up, with its parameters",
		Long: `Show a task that was given up: why, when and where, and its parameters, made
safe for a terminal. With --raw the parameters go to standard output byte for
byte and nothing else does. When a task was given up several times the newest
letter counts; --json prints all, the newest last.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage("name one task by its ID")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, ids []string) error {
			if raw && asJSON {
				return cli.Usage("--raw or --json, not both")
			}
			session, err := std.Open(cmd)
			if err != nil {
				return err
			}
			return showLetter(cmd.Context(), session, ids[0], raw, asJSON)
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "write the parameters alone, byte for byte")
	jsonFlag(cmd, &asJSON, "the letters")
	return cmd
}

func showLetter(ctx context.Context, s *cli.Session, id string, raw, asJSON bool) error {
	var found []kafkaqueue.DeadLetter
	err := readLetters(ctx, s, client.LetterFilter{IDs: []string{id}}, func(l *kafkaqueue.DeadLetter) error {
		found = append(found, *l)
		return nil
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("%s: no such dead letter: never given up, or its retention has ended", id)}
	}
	found = withoutRepeats(found)
	last := &found[len(found)-1]
	switch {
	case asJSON:
		for i := range found {
			if err := cli.WriteJSON(s.Out, letterOf(&found[i]).withParams(found[i].Delivery.Params)); err != nil {
				return err
			}
		}
		return nil
	case raw && last.Stub:
		return &cli.ExitError{Code: cli.Failed, Err: fmt.Errorf("%s: %w", id, client.ErrStub)}
	case raw:
		_, err := s.Out.Write(last.Delivery.Params)
		return err
	}
	v := letterOf(last)
	v.print(s.IO, last.Delivery.Params)
	if len(found) > 1 {
		fmt.Fprintf(s.Err, "It was given up %d times: --json shows all.\n", len(found))
	}
	return nil
}

// withoutRepeats orders the letters of a task, the newest last, and leaves out
// those that tell of the same end twice.
func withoutRepeats(letters []kafkaqueue.DeadLetter) []kafkaqueue.DeadLetter {
	slices.SortStableFunc(letters, func(a, b kafkaqueue.DeadLetter) int { return a.At.Compare(b.At) })
	return slices.CompactFunc(letters, func(a, b kafkaqueue.DeadLetter) bool {
		return a.Delivery.Replay == b.Delivery.Replay && a.Letter.Reason != task.IDConflict && b.Letter.Reason != task.IDConflict
	})
}

// print writes all that a letter says.
func (v *letter) print(std *cli.IO, params []byte) {
	p := cli.NewPrinter(std)
	p.Line("Task", v.ID)
	p.Line("Type", v.Type)
	p.Line("Reason", string(v.Reason))
	p.Text("Message", v.Message)
	p.Line("Class", v.ErrorClass)
	p.Text("Unreadable", v.Unreadable)
	p.Line("Given up", cli.Stamp(v.At)+" ("+cli.Ago(std.Now().Sub(v.At))+" ago)")
	p.Time("First error", v.FirstFailure)
	p.Time("Submitted", v.SubmittedAt)
	p.Line("Attempts", attemptsLine(v))
	p.Line("Node", v.Node)
	p.Line("Record", v.Origin)
	p.Line("Letter", v.Letter)
	p.Line("Opaque id", v.OpaqueID)
	if v.Stub {
		p.Line("Parameters", fmt.Sprintf("too large to keep: %s, sha256 %s", cli.Size(int64(v.ParamsBytes)), v.SHA256))
		return
	}
	p.Line("Parameters", parametersLine(v))
	fmt.Fprint(std.Out, safe(params))
}

func attemptsLine(v *letter) string {
	line := fmt.Sprint(v.Attempts)
	if v.Replay > 0 {
		line += fmt.Sprintf(", replay %d", v.Replay)
	}
	if v.Lost > 0 {
		line += ", its worker vanished " + cli.Count(v.Lost, "time")
	}
	return line
}

func parametersLine(v *letter) string {
	line := cli.Size(int64(v.ParamsBytes))
	if v.ContentType != "" {
		line += ", " + v.ContentType
	}
	if v.ParamsBytes == 0 {
		return "none"
	}
	return line
}

// safe shows parameters so that they cannot do anything to a terminal: JSON
// indented, other text as it is, the rest in hexadecimal.
func safe(params []byte) string {
	if len(params) == 0 {
		return ""
	}
	var indented bytes.Buffer
	switch {
	case json.Indent(&indented, params, "", "  ") == nil:
		return cli.CleanLines(indented.String()) + "\n"
	case utf8.Valid(params) && bytes.IndexByte(params, 0) < 0:
		return strings.TrimRight(cli.CleanLines(string(params)), "\n") + "\n"
	}
	text := hex.Dump(params[:min(len(params), maxShownBytes)])
	if more := len(params) - maxShownBytes; more > 0 {
		text += fmt.Sprintf("… and %s more: --raw writes all\n", cli.Size(int64(more)))
	}
	return text
}
