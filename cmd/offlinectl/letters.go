package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// letterFlags choose dead letters.
type letterFlags struct {
	typ     string
	reasons []string
	class   string
	since   string
	until   string
}

func (l *letterFlags) add(cmd *cobra.Command, std *cli.IO) {
	f := cmd.Flags()
	f.StringVar(&l.typ, "type", "", "only this task `type`")
	f.StringSliceVar(&l.reasons, "reason", nil, "only these `reasons`, separated by commas")
	f.StringVar(&l.class, "class", "", "only this `class` of error")
	f.StringVar(&l.since, "since", "", "only given up since this `time`: 2026-05-01T12:00:00Z, or 2h ago")
	f.StringVar(&l.until, "until", "", "only given up before this `time`")
	completeFlag(cmd, "type", completeTypes(std))
	completeFlag(cmd, "reason", cli.CompleteList(cli.Reasons))
}

// empty tells whether no flag chooses anything.
func (l *letterFlags) empty() bool {
	return l.typ == "" && len(l.reasons) == 0 && l.class == "" && l.since == "" && l.until == ""
}

var reasons = []task.Reason{
	task.RetriesExhausted, task.PermanentFailure, task.WorkerLost, task.Expired,
	task.Undecodable, task.Unroutable, task.IDConflict, task.TooLarge,
}

func (l *letterFlags) filter(ids []string, now time.Time) (client.LetterFilter, error) {
	f := client.LetterFilter{IDs: ids, Type: l.typ, Class: l.class}
	for _, name := range l.reasons {
		reason, err := parseReason(name)
		if err != nil {
			return f, err
		}
		f.Reasons = append(f.Reasons, reason)
	}
	var err error
	if l.since != "" {
		if f.Since, err = cli.ParseAgo(l.since, now); err != nil {
			return f, cli.Usage("--since: %w", err)
		}
	}
	if l.until != "" {
		if f.Until, err = cli.ParseAgo(l.until, now); err != nil {
			return f, cli.Usage("--until: %w", err)
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return f, cli.Usage("--since %s is not before --until %s", l.since, l.until)
	}
	return f, nil
}

func parseReason(name string) (task.Reason, error) {
	wanted := task.Reason(strings.ReplaceAll(strings.TrimSpace(name), "-", "_"))
	var known []string
	for _, r := range reasons {
		if r == wanted {
			return r, nil
		}
		known = append(known, string(r))
	}
	return "", cli.Usage("--reason %q: use one of %s", name, strings.Join(known, ", "))
}

// letter is a dead letter as --json prints it.
type letter struct {
	ID           string          `json:"task_id"`
	Type         string          `json:"type,omitempty"`
	Reason       task.Reason     `json:"reason"`
	ErrorClass   string          `json:"error_class,omitempty"`
	Message      string          `json:"message,omitempty"`
	Unreadable   string          `json:"unreadable,omitempty"` // why the record's headers cannot be read
	Replay       int             `json:"replay"`
	Attempts     int             `json:"attempts"`
	Lost         int             `json:"lost,omitempty"`
	Node         string          `json:"node,omitempty"`
	At           time.Time       `json:"at"`
	FirstFailure time.Time       `json:"first_failure,omitzero"`
	LastFailure  time.Time       `json:"last_failure,omitzero"`
	SubmittedAt  time.Time       `json:"submitted_at,omitzero"`
	OpaqueID     string          `json:"x_opaque_id,omitempty"`
	Origin       string          `json:"origin,omitempty"` // topic/partition/offset of the record that was given up
	Letter       string          `json:"letter"`           // partition/offset on the dead-letter topic
	ParamsBytes  int             `json:"params_bytes"`
	Stub         bool            `json:"stub,omitempty"`
	SHA256       string          `json:"sha256,omitempty"` // of a stub's parameters
	ContentType  string          `json:"content_type,omitempty"`
	Params       json.RawMessage `json:"params,omitempty"`        // by show, when they are JSON
	ParamsBase64 string          `json:"params_base64,omitempty"` // by show, when they are not
}

func letterOf(l *kafkaqueue.DeadLetter) *letter {
	d := &l.Delivery
	v := &letter{
		ID: d.ID, Type: d.Type, Reason: l.Letter.Reason, ErrorClass: l.Letter.Class, Message: l.Letter.Message,
		Replay: d.Replay, Attempts: l.Letter.Attempts, Lost: l.Letter.Lost, Node: l.Letter.Node,
		At: l.At.UTC(), FirstFailure: utc(l.Letter.FirstFailure), LastFailure: utc(l.Letter.LastFailure),
		SubmittedAt: utc(d.SubmittedAt), OpaqueID: d.OpaqueID, Letter: fmt.Sprintf("%d/%d", l.Partition, l.Offset),
		ParamsBytes: len(d.Params), Stub: l.Stub, SHA256: l.SHA256, ContentType: d.ContentType,
	}
	if d.Origin.Topic != "" {
		v.Origin = fmt.Sprintf("%s/%d/%d", d.Origin.Topic, d.Origin.Partition, d.Origin.Offset)
	}
	if l.Stub {
		v.ParamsBytes = l.Bytes
	}
	if d.Err != nil {
		v.Unreadable = strings.TrimPrefix(d.Err.Error(), task.ErrInvalid.Error()+": ")
	}
	return v
}

// withParams adds the parameters.
func (v *letter) withParams(params []byte) *letter {
	switch {
	case len(params) == 0:
	case json.Valid(params):
		v.Params = params
	default:
		v.ParamsBase64 = base64.StdEncoding.EncodeToString(params)
	}
	return v
}

// says is why it was given up, on one line.
func (v *letter) says() string {
	if v.Message == "" {
		return v.Unreadable
	}
	return v.Message
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
