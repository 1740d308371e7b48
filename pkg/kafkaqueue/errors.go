package kafkaqueue

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

var (
	// ErrNoTopic says that Kafka has no such topic.
	ErrNoTopic error = kerr.UnknownTopicOrPartition
	// ErrRefused is in an error about a record that Kafka will never take: it
	// is too large, or its topic does not exist. Sending it again cannot help.
	ErrRefused = errors.New("refused by Kafka for good")
	// ErrUnknown says that the time for an answer ran out: Kafka may or may not
	// have the task. Submit it again with the same id: it will not run twice.
	ErrUnknown = errors.New("unknown whether Kafka has the task: submit it again with the same id")
	// ErrClosed is the answer of a part that was closed, or is stopping.
	ErrClosed = errors.New("queue is closed")
	// ErrTopicGone says that a topic was deleted, or deleted and created again,
	// under a running consumer. It must not go on: its offsets mean nothing any more.
	ErrTopicGone = errors.New("topic was deleted or created anew: restart the process after checking what was lost")
)
