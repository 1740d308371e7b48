package config

import (
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
)

// Config is what the queue is opened with; Log and Meter are left to the
// caller. It reads the files that the section names.
func (k Kafka) Config() (kafkaqueue.Config, error) {
	secure, err := k.TLS.Config()
	if err != nil {
		return kafkaqueue.Config{}, fmt.Errorf("kafka.tls: %w", err)
	}
	return kafkaqueue.Config{
		Brokers:  k.Brokers,
		ClientID: k.ClientID,
		Prefix:   k.Prefix,
		TLS:      secure,
		SASL: kafkaqueue.SASL{
			Mechanism: k.SASL.Mechanism,
			Username:  k.SASL.Username,
			Password:  k.SASL.Password.Reveal(),
		},
		SessionTimeout:     k.SessionTimeout,
		ServerSideBalancer: k.ServerSideBalancer,
		WindowRecords:      k.Window.Records,
		WindowBytes:        int(k.Window.Bytes),
		Delays:             k.Delays,
		Topics: kafkaqueue.Topics{
			Partitions:          k.Topics.Partitions,
			Replication:         k.Topics.Replication,
			MinInsync:           k.Topics.MinInsyncReplicas,
			TaskRetention:       k.Topics.TaskRetention,
			ResultsRetention:    k.Topics.ResultsRetention,
			DeadLetterRetention: k.Topics.DeadLetterRetention,
		},
	}, nil
}
