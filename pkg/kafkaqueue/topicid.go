package kafkaqueue

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicIDs remembers the ids that Kafka gave the topics, as its own tools
// print them. They do not change under a running consumer, see [ErrTopicGone].
type topicIDs struct{ known map[string]string }

// get is the id of a topic that was learnt.
func (t *topicIDs) get(topic string) string { return t.known[topic] }

// learnID asks for a topic's id, unless it is known, until there is an answer.
func (m *member) learnID(ctx context.Context, ids *topicIDs, topic string) error {
	if ids.known[topic] != "" {
		return nil
	}
	for pause := pollPauseLeast; ; pause = min(2*pause, pollPauseMost) {
		id, err := topicID(ctx, m.client, topic)
		if err == nil {
			if ids.known == nil {
				ids.known = map[string]string{}
			}
			ids.known[topic] = id
			return nil
		}
		m.complain(topic, -1, err)
		m.wait(ctx, pause)
		select {
		case <-m.stopping:
			return m.ended()
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
}

func topicID(ctx context.Context, client *kgo.Client, topic string) (string, error) {
	request := kmsg.NewPtrMetadataRequest()
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = &topic
	request.Topics = append(request.Topics, wanted)
	response, err := client.RequestCachedMetadata(ctx, request, time.Minute)
	if err != nil {
		return "", err
	}
	if len(response.Topics) != 1 {
		return "", kerr.UnknownTopicOrPartition
	}
	if err := kerr.ErrorForCode(response.Topics[0].ErrorCode); err != nil {
		return "", err
	}
	id := response.Topics[0].TopicID
	if id == [16]byte{} { // the brokers are too old for ids
		return topic, nil
	}
	return base64.RawURLEncoding.EncodeToString(id[:]), nil
}
