package remotegc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Type is the name of the task type.
const Type = "remote-gc"

// MaxShards bounds the shards that one task names.
const MaxShards = 1000

// Params are what a task is submitted with. Without any it collects the garbage of the whole store.
type Params struct {
	// Shards are those to look at; empty: all.
	Shards []string `json:"shards,omitempty"`

	// Folder is where shards are looked for, such as "books/"; empty: in the whole store.
	Folder string `json:"folder,omitempty"`

	// DryRun deletes and writes nothing: the result says what would be.
	DryRun bool `json:"dry_run,omitempty"`
}

// Validate reports every mistake at once.
func (p Params) Validate() error {
	var errs []error
	if len(p.Shards) > MaxShards {
		errs = append(errs, fmt.Errorf("%d shards are named, at most %d may be", len(p.Shards), MaxShards))
	}
	for _, name := range p.Shards {
		errs = append(errs, shard.CheckName(name))
	}
	if p.Folder != "" {
		errs = append(errs, remotestore.CheckKey(strings.TrimSuffix(p.Folder, "/")))
		if !strings.HasSuffix(p.Folder, "/") {
			errs = append(errs, fmt.Errorf("folder %q does not end with a slash", p.Folder))
		}
		if len(p.Shards) > 0 {
			errs = append(errs, errors.New("shards and folder exclude each other"))
		}
	}
	return errors.Join(errs...)
}

// Whole tells whether the task is about all of the store.
func (p Params) Whole() bool { return len(p.Shards) == 0 && p.Folder == "" }

// Describe says in a line what the task does.
func (p Params) Describe() string {
	what := "the whole store"
	switch {
	case len(p.Shards) == 1:
		what = p.Shards[0]
	case len(p.Shards) > 1:
		what = fmt.Sprintf("%d shards", len(p.Shards))
	case p.Folder != "":
		what = p.Folder
	}
	if p.DryRun {
		return "look for garbage in " + what
	}
	return "collect garbage of " + what
}

// Submission is the task with these parameters. While one with the same runs it is that one, and afterwards a new one.
func Submission(p Params) (task.Submission, error) {
	key, err := task.Encode(p)
	if err != nil {
		return task.Submission{}, err
	}
	return task.NewSubmission(Type, p, task.Unique(string(key)), task.Again())
}

const (
	maxFailures  = 6   // that a result names
	maxFailBytes = 400 // of the text of one
	maxExamples  = 10  // objects that the result of a dry run names; a key has up to 1,000 bytes
)

// Result is what a task leaves.
type Result struct {
	Shards int   `json:"shards"` // that were looked at
	Found  Tally `json:"found"`

	// Failed are shards of which nothing, or not all, was deleted, because something could not be read or deleted.
	Failed   int       `json:"failed,omitempty"`
	Failures []Failure `json:"failures,omitempty"` // the first of them

	DryRun   bool     `json:"dry_run,omitempty"`
	Examples []string `json:"examples,omitempty"` // of a dry run: "<reason> <key>"
}

// Failure is a shard whose garbage could not be collected.
type Failure struct {
	Shard string `json:"shard"`
	Error string `json:"error"`
}

// Add counts in what the collection of one shard has returned.
func (r *Result) Add(name string, found Tally, err error) {
	r.Shards++
	r.Found.Add(found)
	if err == nil {
		return
	}
	r.Failed++
	if len(r.Failures) < maxFailures {
		text := err.Error()
		r.Failures = append(r.Failures, Failure{name, strings.ToValidUTF8(text[:min(len(text), maxFailBytes)], "")})
	}
}

// example keeps the first objects of a dry run.
func (r *Result) example(i Item) {
	if r.DryRun && len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, string(i.Reason)+" "+i.Key)
	}
}
