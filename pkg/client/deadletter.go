package client

import (
	"context"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// LetterFilter chooses dead letters; a zero field chooses all.
type LetterFilter struct {
	IDs     []string
	Type    string
	Reasons []task.Reason
	Class   string // of the error
	// Since and Until are about when it was given up; Until itself is not in it.
	Since, Until time.Time
}

// Match tells whether a letter is chosen.
func (f *LetterFilter) Match(l *kafkaqueue.DeadLetter) bool {
	return (len(f.IDs) == 0 || slices.Contains(f.IDs, l.Delivery.ID)) &&
		(f.Type == "" || f.Type == l.Delivery.Type) &&
		(len(f.Reasons) == 0 || slices.Contains(f.Reasons, l.Letter.Reason)) &&
		(f.Class == "" || f.Class == l.Letter.Class) &&
		(f.Since.IsZero() || !l.At.Before(f.Since)) &&
		(f.Until.IsZero() || l.At.Before(f.Until))
}

// DeadLetters calls each for every letter that matches, from the topic's start
// to its end. A letter stays there until its retention ends, also when its
// task was redriven.
func (c *Client) DeadLetters(ctx context.Context, filter LetterFilter, each func(kafkaqueue.DeadLetter) error) error {
	return kafkaqueue.ReadDeadLetters(ctx, c.cfg.Kafka, func(l kafkaqueue.DeadLetter) error {
		if !filter.Match(&l) {
			return nil
		}
		return each(l)
	})
}
