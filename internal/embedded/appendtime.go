package embedded

import (
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// appendTime makes the broker heed message.timestamp.type=LogAppendTime, which
// kfake keeps and shows but does not act on: the records of such topics get
// the broker's time before they are appended.
type appendTime struct{ broker *kfake.Cluster }

func (a appendTime) install() {
	a.broker.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		a.broker.KeepControl()
		produce := request.(*kmsg.ProduceRequest)
		for _, topic := range produce.Topics {
			if !a.wanted(topic) {
				continue
			}
			now := time.Now().UnixMilli()
			for i := range topic.Partitions {
				topic.Partitions[i].Records = stamped(topic.Partitions[i].Records, now)
			}
		}
		return nil, nil, false // the broker goes on with the request
	})
}

// wanted asks the topic's settings each time: they may be altered.
func (a appendTime) wanted(topic kmsg.ProduceRequestTopic) bool {
	var info *kfake.TopicInfo
	if topic.Topic != "" {
		info = a.broker.TopicInfo(topic.Topic)
	} else {
		info = a.broker.TopicIDInfo(topic.TopicID)
	}
	if info == nil {
		return false
	}
	kind := info.Configs["message.timestamp.type"]
	return kind != nil && *kind == "LogAppendTime"
}

// crcFrom is where the part of a batch begins that its checksum covers.
const crcFrom = 21

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamped is the batch with one time for all its records. A batch that is
// damaged stays as it is, for the broker to refuse.
func stamped(raw []byte, millis int64) []byte {
	var batch kmsg.RecordBatch
	if batch.ReadFrom(raw) != nil || len(raw) < crcFrom || batch.CRC != checksum(raw) {
		return raw
	}
	records, err := kfake.BatchRecords(batch)
	if err != nil {
		return raw
	}
	batch.Records = nil
	for _, r := range records {
		// The length of the delta as a varint is part of the record's own.
		r.Length -= int32(varintLen(r.TimestampDelta64) - varintLen(0))
		r.TimestampDelta64, r.TimestampDelta = 0, 0
		batch.Records = r.AppendTo(batch.Records)
	}
	batch.Attributes &^= 0x7 // not compressed any more
	batch.FirstTimestamp, batch.MaxTimestamp = millis, millis
	batch.Length = int32(len(batch.AppendTo(nil)) - 12)
	again := batch.AppendTo(nil)
	batch.CRC = checksum(again)
	return batch.AppendTo(again[:0])
}

func checksum(batch []byte) int32 { return int32(crc32.Checksum(batch[crcFrom:], castagnoli)) }

// varintLen is the size of n in zigzag encoding.
func varintLen(n int64) int {
	size := 1
	for u := uint64(n)<<1 ^ uint64(n>>63); u >= 0x80; u >>= 7 {
		size++
	}
	return size
}
