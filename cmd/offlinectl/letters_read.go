package main

import (
	"context"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
)

// readLetters calls each for every letter that matches. It asks Kafka alone:
// letters can be read while Redis is away.
func readLetters(ctx context.Context, s *cli.Session, filter client.LetterFilter, each func(*kafkaqueue.DeadLetter) error) error {
	if err := s.Ping(ctx); err != nil {
		return err
	}
	return kafkaqueue.ReadDeadLetters(ctx, s.Kafka, func(l kafkaqueue.DeadLetter) error {
		if !filter.Match(&l) {
			return nil
		}
		return each(&l)
	})
}
