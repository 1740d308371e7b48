package embedded

import (
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// epochs answers where the log of a leader epoch ends. kfake says that it does
// not know when a leader has moved and nothing was produced since, and a
// client takes that for lost records. No log is ever cut here, so what was
// written under any epoch goes on up to the end.
type epochs struct{ broker *kfake.Cluster }

func (e epochs) install() {
	e.broker.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		e.broker.KeepControl()
		asked := request.(*kmsg.OffsetForLeaderEpochRequest)
		answer := asked.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, t := range asked.Topics {
			topic := kmsg.NewOffsetForLeaderEpochResponseTopic()
			topic.Topic = t.Topic
			for _, p := range t.Partitions {
				info := e.broker.PartitionInfo(t.Topic, p.Partition)
				if info == nil {
					return nil, nil, false // the broker knows how to refuse it
				}
				partition := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				partition.Partition, partition.LeaderEpoch, partition.EndOffset = p.Partition, p.LeaderEpoch, info.HighWatermark
				topic.Partitions = append(topic.Partitions, partition)
			}
			answer.Topics = append(answer.Topics, topic)
		}
		return answer, nil, true
	})
}
