package kafkaqueue

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// publication is one record on its way to Kafka.
type publication struct {
	producer *Producer
	kind     kind
	acked    func(error)
	stub     func() kgo.Record // what to publish when the record is too large; nil: nothing
	tries    int
	failure  error // of the last try
	record   kgo.Record
}

// kind of a publication, as metrics name it.
type kind string

const (
	kindTask       kind = "task"
	kindEvent      kind = "event"
	kindHop        kind = "hop"
	kindDeadLetter kind = "dead_letter"
	kindRoute      kind = "route"
	kindSetting    kind = "setting"
)

// newHeaderList has room for a usual task's headers in one allocation.
func newHeaderList() *headerList {
	room := &struct {
		headerList
		headers [12]kgo.RecordHeader
		numbers [112]byte
	}{}
	room.list, room.headerList.numbers = room.headers[:0], room.numbers[:0]
	return &room.headerList
}

// carry makes pub the record of a task: to topic at once, or, when its
// not-before is ahead by the first tier's delay, to a tier with topic as its target.
func (pub *publication) carry(d *task.Delivery, topic string, now time.Time) {
	target := ""
	if tier, ok := pub.producer.tiers.pick(d.NotBefore, now); ok {
		target, topic = topic, tier
	}
	h := newHeaderList()
	h.envelope(&d.Envelope, target, headersOf(d))
	pub.record = kgo.Record{Topic: topic, Value: d.Params, Headers: h.list}
}
