package faults

import (
	"context"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

const (
	oneRedis     = "1 Redis"
	threeBrokers = "3 brokers of Apache Kafka, each a controller too (three replicas, two in sync)"
)

// administer is a client of Kafka, for what only a fault asks of it.
func administer(t *testing.T, brokers []string) *kadm.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return kadm.NewClient(c)
}

// taskRecords are how many records with each task id the topic of probes has.
func taskRecords(t *testing.T, f *fleet.Fleet) map[string]int {
	t.Helper()
	topic := f.Prefix + "tasks.probe"
	ends, err := administer(t, f.Kafka).ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	var left int64
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	c, err := kgo.NewClient(kgo.SeedBrokers(f.Kafka...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer c.Close()
	records := map[string]int{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for left > 0 {
		fetches := c.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			left--
			for _, h := range record.Headers {
				if h.Key == "task-id" {
					records[string(h.Value)]++
				}
			}
		})
	}
	return records
}

func cluster(t *testing.T, r *run) ([]*testkit.Server, *fleet.Fleet) {
	t.Helper()
	brokers := testkit.StartKafkaCluster(t, 3)
	r.on(threeBrokers, oneRedis)
	addrs := make([]string, len(brokers))
	for i, b := range brokers {
		addrs[i] = b.Addr
	}
	return brokers, r.fleet(fleet.Servers{Kafka: addrs, Replication: 3, MinInsync: 2})
}

// inSync waits until every partition has all its replicas: a broker that is back has to catch up.
func inSync(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	admin := administer(t, f.Kafka)
	require.Eventually(t, func() bool {
		metadata, err := admin.Metadata(t.Context())
		if err != nil {
			return false
		}
		whole := true
		metadata.Topics.EachPartition(func(p kadm.PartitionDetail) {
			whole = whole && len(p.ISR) == len(p.Replicas) && len(p.OfflineReplicas) == 0
		})
		return whole
	}, time.Minute, 100*time.Millisecond, "not every replica catches up")
}

func TestRow19KafkaAnswersAreLost(t *testing.T) {
	r := begin(t, 19)
	_, line := testkit.StartKafkaBehindProxy(t)
	r.on(oneBroker+" behind a proxy", oneRedis)
	f := r.fleet(fleet.Servers{Kafka: []string{line.Addr}})
	start(f, []string{"n1", "n2"})
	work := r.load(f, loadOf{})
	work.next(time.Minute)
	long := f.Submit(map[string]any{"for": "30s"})
	token := f.Active(long, time.Minute, nil).AllocationID

	line.LoseAnswers(150)
	time.Sleep(20 * time.Second) // the fault itself
	line.Heal()
	r.strike("for 20 s, of submitter, listener and nodes, every seventh answer of Kafka is lost with its connection")
	work.next(time.Minute)
	r.recovered("a task that was submitted behind it has ended")
	require.Equal(t, token, f.Outcome(long, 0, time.Minute).AllocationID)
	r.checked("a task that ran went on under its claim")
	accepted := append(work.stop(), long)
	r.audit(f, accepted)
	records := taskRecords(t, f)
	for _, id := range accepted {
		require.NotZero(t, records[id], "accepted, but Kafka does not have %s", id)
	}
	r.checked("Kafka has a record of each accepted task")
	work.tell()
}

func TestRow21EachBrokerIsKilledAndComesBack(t *testing.T) {
	r := begin(t, 21)
	brokers, f := cluster(t, r)
	start(f, []string{"n1", "n2"})
	work := r.load(f, loadOf{})
	work.next(time.Minute)
	long := f.Submit(map[string]any{"for": "40s"})
	token := f.Active(long, time.Minute, nil).AllocationID

	for i, b := range brokers {
		r.strike("kill -9 of broker %d", i+1)
		b.Kill()
		for range 4 { // more than one partition
			work.next(time.Minute)
		}
		r.recovered("tasks that were submitted behind it have ended")
		b.Restart()
		inSync(t, f)
	}
	r.checked("whichever broker led partitions, coordinated groups or was the controller was among those killed")
	require.Equal(t, token, f.Outcome(long, 0, time.Minute).AllocationID)
	r.checked("a task that ran all the time went on under its claim")
	r.audit(f, append(work.stop(), long))
	work.tell()
}

func TestRow21TwoBrokersOfThreeAreAway(t *testing.T) {
	r := begin(t, 21)
	brokers, f := cluster(t, r)
	start(f, []string{"n1", "n2"})
	work := r.load(f, loadOf{})
	work.next(time.Minute)
	long := f.Submit(map[string]any{"for": "20s"})
	token := f.Active(long, time.Minute, nil).AllocationID

	brokers[0].Kill()
	brokers[1].Kill()
	id := task.NewID()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := f.Client.Submit(ctx, "probe", nil, task.ID(id))
	require.ErrorIs(t, err, client.ErrUnknown, "one replica is not enough to accept a task")
	r.checked("while one broker was left, Submit said that the outcome is unknown")
	time.Sleep(15 * time.Second) // the fault itself: the task that runs ends meanwhile
	brokers[0].Restart()
	r.strike("kill -9 of two brokers of three; after half a minute one of them is back, then the other")
	work.next(time.Minute)
	r.recovered("a task that was submitted behind the first one's return has ended")
	brokers[1].Restart()
	_, err = f.Client.Submit(t.Context(), "probe", nil, task.ID(id))
	require.NoError(t, err)
	require.Equal(t, token, f.Outcome(long, 0, time.Minute).AllocationID)
	r.checked("a task that ended meanwhile was told under its claim")
	r.audit(f, append(work.stop(), long, id))
	work.tell()
}

var lostRange = regexp.MustCompile(`records were lost.* topic=(\S+) partition=(\d+) from=(\d+) to=(\d+)`)

func TestRow22RetentionOvertakesTheGroup(t *testing.T) {
	r := begin(t, 22)
	kafka := testkit.StartKafka(t, map[string]string{"log.retention.check.interval.ms": "500"})
	r.on(oneBroker, oneRedis)
	f := r.fleet(fleet.Servers{Kafka: []string{kafka.Addr}})
	topic := f.Prefix + "tasks.probe"
	admin := administer(t, f.Kafka)
	first := f.Node("n1")
	before := 0
	for read := 0; read < 4; { // of every partition something has been read
		f.Outcome(f.Submit(nil), 0, time.Minute)
		before++
		read = 0
		ends, err := admin.ListEndOffsets(t.Context(), topic)
		require.NoError(t, err)
		ends.Each(func(end kadm.ListedOffset) { read += int(min(end.Offset, 1)) })
	}
	first.Signal(syscall.SIGTERM)
	require.Equal(t, 0, first.Wait(time.Minute))
	const lost = 60
	for range lost {
		f.Submit(nil)
	}
	retain := func(value string) {
		_, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "retention.ms", Value: &value}}, topic)
		require.NoError(t, err)
	}
	retain("1000")
	require.Eventually(t, func() bool {
		starts, err := admin.ListStartOffsets(t.Context(), topic)
		ends, err2 := admin.ListEndOffsets(t.Context(), topic)
		var left int64
		ends.Each(func(end kadm.ListedOffset) {
			s, _ := starts.Lookup(end.Topic, end.Partition)
			left += end.Offset - s.Offset
		})
		return err == nil && err2 == nil && left == 0
	}, time.Minute, 100*time.Millisecond, "retention does not do its part")
	retain("1209600000")

	r.strike("retention deletes %d tasks that no node has read; a node starts", lost)
	n := f.Node("n2")
	told := int64(0)
	require.Eventually(t, func() bool {
		told = 0
		for _, m := range lostRange.FindAllStringSubmatch(n.Output(), -1) {
			require.Equal(t, topic, m[1])
			from, err := strconv.ParseInt(m[3], 10, 64)
			require.NoError(t, err)
			to, err := strconv.ParseInt(m[4], 10, 64)
			require.NoError(t, err)
			told += to - from
		}
		return told >= lost
	}, 2*time.Minute, 50*time.Millisecond, "the loss is not told")
	r.recovered("all lost ranges are told")
	require.EqualValues(t, lost, told, "%d had ended before, and are not lost", before)
	r.checked("%d tasks deleted behind %d that had ended; the node told ranges of %d offsets", lost, before, told)
	id := f.Submit(nil)
	f.Outcome(id, 0, time.Minute)
	r.audit(f, []string{id})
}

func TestRow24ATopicIsDeletedAndCreatedAgain(t *testing.T) {
	r := begin(t, 24)
	r.on(oneBroker, oneRedis)
	f := r.fleet(fleet.Servers{})
	n := f.Node("n1")
	f.Outcome(f.Submit(nil), 0, time.Minute)
	admin, topic := administer(t, f.Kafka), f.Prefix+"tasks.probe"
	_, err := admin.DeleteTopic(t.Context(), topic)
	require.NoError(t, err)
	exists := func(admin *kadm.Client) bool {
		topics, err := admin.ListTopics(t.Context(), topic)
		return err == nil && topics.Has(topic)
	}
	require.Eventually(t, func() bool {
		return f.Client.Ensure(t.Context(), "probe") == nil && exists(admin)
	}, 20*time.Second, 100*time.Millisecond)
	r.strike("the topic of tasks is deleted and created again")
	require.Equal(t, 2, n.Wait(time.Minute), n.Tail())
	r.recovered("the process has ended with 2")
	require.Contains(t, n.Output(), "deleted or created anew")
	r.checked("its exit code is 2 and it says which topic was deleted or created anew")

	f.Node("n2")
	c, err := client.Open(t.Context(), client.Config{Kafka: f.KafkaConfig(), Claims: f.ClaimsConfig()})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(context.WithoutCancel(t.Context()))) }()
	id, err := c.Submit(t.Context(), "probe", nil)
	require.NoError(t, err)
	f.Outcome(id, 0, time.Minute)
	r.audit(f, []string{id})
}

func TestRow27AThousandTasksFailAtOnce(t *testing.T) {
	r := begin(t, 27)
	r.on(oneBroker, oneRedis)
	f := r.fleet(fleet.Servers{})
	start(f, []string{"n1", "n2"}, "types.probe.slots=100", "types.probe.retry.initial=5s", "types.probe.retry.max=5s")
	f.Outcome(f.Submit(nil), 0, time.Minute)
	batch := make([]task.Submission, 1000)
	for i := range batch {
		var err error
		batch[i], err = task.NewSubmission("probe", map[string]any{"fail": 1})
		require.NoError(t, err)
	}
	var ids []string
	for _, result := range f.Client.SubmitBatch(t.Context(), batch) {
		require.NoError(t, result.Err)
		ids = append(ids, result.ID)
	}
	r.strike("1,000 tasks that fail once are accepted")
	seconds := map[int64]int{}
	for _, id := range ids {
		e := f.Outcome(id, 0, time.Minute)
		require.Equal(t, task.Success, e.Status)
		require.Equal(t, 2, e.Attempt)
		seconds[e.CompletedAt.Unix()]++
	}
	r.recovered("all have succeeded at the second attempt")
	most := 0
	for _, n := range seconds {
		most = max(most, n)
	}
	require.Greater(t, len(seconds), 2, "they came back in one wave")
	r.checked("second attempts ended in %d different seconds, at most %d in one", len(seconds), most)
	r.audit(f, ids)
}
