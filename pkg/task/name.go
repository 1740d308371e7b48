package task

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Limits of what travels with a task. They are checked when a task is
// submitted and again when its record is read.
const (
	MaxParamsBytes     = 256 << 10 // parameters
	MaxHeaderBytes     = 8 << 10   // all record headers but the checkpoint
	MaxCheckpointBytes = 64 << 10  // what the next attempt resumes from
	MaxResultBytes     = 16 << 10  // what a worker leaves for listeners
	MaxErrorBytes      = 2 << 10   // an error's message; longer ones are cut
	MaxIDBytes         = 200
	MaxTypeBytes       = 100
)

// ErrInvalid is in every error about a task that breaks a rule of this
// package: submitting it again unchanged cannot succeed.
var ErrInvalid = errors.New("invalid task")

// NewID returns an id that no other task has, ordered by time.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// ValidateID checks a caller's task id: 1 to [MaxIDBytes] of letters, digits
// and ". _ : -", in parts separated by "/" that name a child under its parent.
// No part is "." or "..".
func ValidateID(id string) error {
	if id == "" || len(id) > MaxIDBytes {
		return fmt.Errorf("%w: an id has 1 to %d bytes, not %d", ErrInvalid, MaxIDBytes, len(id))
	}
	for part := range strings.SplitSeq(id, "/") {
		switch part {
		case "":
			return fmt.Errorf("%w: id %q has an empty part: a / stands only between a parent and its child", ErrInvalid, id)
		case ".", "..":
			return fmt.Errorf("%w: id %q has the part %q, which means another folder where ids name files", ErrInvalid, id, part)
		}
	}
	for _, c := range []byte(id) {
		if !isNameByte(c) && c != ':' && c != '/' && (c < 'A' || c > 'Z') {
			return fmt.Errorf("%w: id %q has the byte %q: use letters, digits and . _ : - (and / under a parent)", ErrInvalid, id, c)
		}
	}
	return nil
}

// ValidateType checks a task type's name: 1 to [MaxTypeBytes] of lower-case
// letters, digits and ". _ -", starting with a letter or digit, and none of
// the names that a topic of ours already has.
func ValidateType(name string) error {
	if name == "" || len(name) > MaxTypeBytes {
		return fmt.Errorf("%w: a type has 1 to %d bytes, not %d", ErrInvalid, MaxTypeBytes, len(name))
	}
	for _, c := range []byte(name) {
		if !isNameByte(c) {
			return fmt.Errorf("%w: type %q has the byte %q: use lower-case letters, digits and . _ -", ErrInvalid, name, c)
		}
	}
	if c := name[0]; c == '.' || c == '_' || c == '-' {
		return fmt.Errorf("%w: type %q must start with a letter or a digit", ErrInvalid, name)
	}
	switch {
	case name == "results", name == "settings", name == "dead-letter",
		strings.HasPrefix(name, "retry."), strings.HasSuffix(name, ".again"):
		return fmt.Errorf("%w: type %q is the name of a topic of the queue itself: choose another", ErrInvalid, name)
	}
	return nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// Root is the part of an id before its first "/": the id of the oldest
// ancestor, or the id itself.
func Root(id string) string {
	root, _, _ := strings.Cut(id, "/")
	return root
}

// Parent is the id of the task under which id is named, or "".
func Parent(id string) string {
	if i := strings.LastIndexByte(id, '/'); i >= 0 {
		return id[:i]
	}
	return ""
}
