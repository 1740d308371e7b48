package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// soak is a whole system under random faults.
type soak struct {
	*run
	fleet  *fleet.Fleet
	kafka  *testkit.Server
	redis  *testkit.Server
	store  *testkit.Server
	bucket testkit.Bucket

	names []string
	nodes members
	data  *fleet.DataNode
	disk  string

	short, long *load
	shelves     []*shelf
	audit       Soaked
}

// TestSoak runs random faults for SOAK minutes and writes its audit to SOAK_AUDIT.
func TestSoak(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("SOAK"), 64)
	if os.Getenv("SOAK") == "" {
		t.Skip("minutes of random faults: `make soak` runs it, or SOAK=minutes")
	}
	require.NoError(t, err, "SOAK is a number of minutes")
	row, err := Of(35)
	require.NoError(t, err)
	s := &soak{run: &run{t: t, row: row}, names: []string{"n1", "n2", "n3"}, nodes: members{}, disk: t.TempDir()}
	s.audit = Soaked{Began: time.Now(), Faults: map[string]int{}}
	t.Cleanup(func() {
		s.audit.Kept = !t.Failed()
		if !s.audit.Kept && s.audit.Failure == "" {
			s.audit.Failure = "see the output of the test"
		}
		if path := os.Getenv("SOAK_AUDIT"); path != "" {
			assert.NoError(t, WriteAudit(path, &s.audit))
		}
	})
	s.start()
	began := time.Now()
	for end := began.Add(time.Duration(minutes * float64(time.Minute))); time.Now().Before(end); {
		s.pause(3*time.Second, 9*time.Second)
		s.harm()
	}
	s.audit.Took = time.Since(began).Round(time.Second)
	s.settle()
}

func (s *soak) start() {
	t := s.t
	s.kafka, s.redis = testkit.StartKafka(t, nil), testkit.StartRedis(t)
	s.store, s.bucket = testkit.StartS3(t)
	s.audit.Servers = []string{s.kafka.String(), s.redis.String(), s.store.String()}
	s.fleet = s.run.fleet(fleet.Servers{Kafka: []string{s.kafka.Addr}, Redis: []string{s.redis.Addr}, Store: &s.bucket})
	for _, name := range s.names {
		s.node(name)
	}
	s.serve()
	for _, name := range []string{"books", "films"} {
		s.shelves = append(s.shelves, s.shelve(s.data, name, 50*time.Millisecond))
	}
	s.short = s.run.load(s.fleet, loadOf{Every: 100 * time.Millisecond})
	s.long = s.run.load(s.fleet, loadOf{Every: 8 * time.Second, For: "35s"})
	s.short.next(time.Minute)
}

func (s *soak) node(name string) {
	s.nodes[name] = s.fleet.Node(name, slices.Concat(fast, []string{"types.probe.slots=6", "node.grace=8s"})...)
}

// serve starts the data node; the shards follow it.
func (s *soak) serve() {
	settings := []string{"data_node.dir=" + s.disk}
	if len(s.shelves) > 0 {
		settings = append(settings, "data_node.shards=books,films")
	}
	s.data = s.fleet.DataNode("d1", settings...)
	for _, shelf := range s.shelves {
		shelf.moved(s.data)
	}
}

func (s *soak) pause(least, most time.Duration) { time.Sleep(least + rand.N(most-least)) }

// harm brings one random fault about, and heals it.
func (s *soak) harm() {
	name := s.names[rand.IntN(len(s.names))]
	faults := []struct {
		name   string
		weight int
		do     func()
	}{
		{"kill -9 of a node", 6, func() {
			s.nodes[name].Kill()
			s.pause(0, 8*time.Second)
			s.node(name)
		}},
		{"restart of a node", 3, func() {
			s.nodes[name].Signal(syscall.SIGTERM)
			old := s.nodes[name]
			s.node(name)
			require.Equal(s.t, 0, old.Wait(time.Minute), "drained")
		}},
		{"SIGSTOP of a node past its lease", 3, func() {
			s.nodes[name].Signal(syscall.SIGSTOP)
			s.pause(6*time.Second, 12*time.Second)
			s.nodes[name].Signal(syscall.SIGCONT)
		}},
		{"kill -9 of all nodes", 1, func() {
			for _, n := range s.names {
				s.nodes[n].Kill()
			}
			for _, n := range s.names {
				s.node(n)
			}
		}},
		{"kill -9 of the data node", 3, func() { s.crashData(false) }},
		{"kill -9 of the data node, whose disk is lost", 2, func() { s.crashData(true) }},
		{"kill -9 of Redis", 2, func() {
			s.redis.Kill()
			s.pause(0, 5*time.Second)
			s.redis.Restart()
		}},
		{"FLUSHALL of Redis", 1, func() { require.NoError(s.t, ask(s.t, s.redis.Addr).FlushAll(s.t.Context()).Err()) }},
		{"Redis stands still", 2, func() {
			s.redis.Pause()
			s.pause(2*time.Second, 8*time.Second)
			s.redis.Resume()
		}},
		{"kill -9 of the broker", 2, func() {
			s.kafka.Kill()
			s.pause(0, 5*time.Second)
			s.kafka.Restart()
		}},
		{"restart of the broker", 1, func() {
			s.kafka.Terminate()
			s.kafka.Restart()
		}},
		{"kill -9 of the store", 2, func() {
			s.store.Kill()
			s.pause(0, 5*time.Second)
			s.store.Restart()
		}},
		{"the store stands still", 1, func() {
			s.store.Pause()
			s.pause(2*time.Second, 8*time.Second)
			s.store.Resume()
		}},
	}
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	drawn := rand.IntN(total)
	for _, f := range faults {
		if drawn -= f.weight; drawn < 0 {
			began := time.Now()
			f.do()
			s.audit.Faults[f.name]++
			s.t.Logf("%s  %s (%s)", began.Format(time.TimeOnly), f.name, time.Since(began).Round(time.Second))
			return
		}
	}
}

func (s *soak) crashData(diskToo bool) {
	for _, shelf := range s.shelves {
		shelf.moved(nil)
	}
	s.data.Kill()
	if diskToo {
		s.disk = s.t.TempDir()
	}
	s.serve()
}

// settle lets everything end on healthy servers, and audits.
func (s *soak) settle() {
	for _, name := range s.names {
		select {
		case <-s.nodes[name].Ended():
			s.t.Errorf("%s has ended by itself:\n%s", name, s.nodes[name].Tail())
			s.node(name)
		default:
		}
	}
	s.short.next(2 * time.Minute)
	shorts, longs := s.short.stop(), s.long.stop()
	for _, l := range []*load{s.short, s.long} {
		s.audit.Refused += l.refused
		s.audit.Unknown += l.unknown
	}
	s.tasks(shorts, longs)
	for _, shelf := range s.shelves {
		s.shard(shelf)
	}
}

// tasks holds the results topic, as it is, against what was accepted.
func (s *soak) tasks(shorts, longs []string) {
	for _, id := range slices.Concat(shorts, longs) {
		if !s.heard(id) {
			s.audit.Lost++
		}
	}
	type outcome struct {
		task.Event
		second bool
	}
	type replay struct {
		id     string
		number int
	}
	outcomes, flushed := map[replay]*outcome{}, s.audit.Faults["FLUSHALL of Redis"]+s.audit.Faults["kill -9 of Redis"] > 0
	require.NoError(s.t, kafkaqueue.ReadResults(s.t.Context(), s.fleet.KafkaConfig(), time.Time{}, func(e task.Event) error {
		first := outcomes[replay{e.TaskID, e.Replay}]
		switch {
		case first == nil:
			outcomes[replay{e.TaskID, e.Replay}] = &outcome{Event: e}
		case e.AllocationID == first.AllocationID && e.Status == first.Status:
			s.audit.Repeated++
		case !first.second:
			first.second = true
			s.audit.Seconds++
			s.t.Logf("a second run: %+v after %+v", e, first.Event)
		}
		return nil
	}))
	for i, ids := range [][]string{shorts, longs} {
		s.audit.Accepted += len(ids)
		for _, id := range ids {
			o := outcomes[replay{id, 0}]
			if o == nil {
				continue
			}
			s.audit.Settled++
			assert.Equal(s.t, task.Success, o.Status, "%s: %s", id, o.Error)
			if i == 0 {
				s.audit.Worst = max(s.audit.Worst, o.CompletedAt.Sub(o.SubmittedAt).Round(time.Millisecond))
			}
		}
	}
	s.t.Logf("%d tasks accepted, %d settled, %d lost; %d events came again, %d second runs; worst %s", s.audit.Accepted,
		s.audit.Settled, s.audit.Lost, s.audit.Repeated, s.audit.Seconds, s.audit.Worst)
	assert.Equal(s.t, s.audit.Accepted, s.audit.Settled, "accepted and lost")
	assert.True(s.t, flushed || s.audit.Seconds == 0, "a second run without a Redis that lost anything")
}

// heard waits for an outcome, and says where its task stands if there is none. Long ones may have begun again several times.
func (s *soak) heard(id string) bool {
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if len(s.fleet.Heard(id)) > 0 {
			return true
		}
	}
	state, err := s.fleet.Client.State(s.t.Context(), id)
	s.audit.Failure = fmt.Sprintf("no outcome of %s: %+v (%v)", id, state, err)
	s.t.Error(s.audit.Failure)
	return false
}

// shard waits until merges have ended, compares with a plain index, and reads the history of commits.
func (s *soak) shard(shelf *shelf) {
	shelf.stop()
	s.data.Call(http.MethodPost, "/shards/"+shelf.shard+"/_merge?max_segments=3", "", nil)
	require.Eventually(s.t, func() bool {
		return !slices.ContainsFunc(s.data.Merges(shelf.shard), func(m fleet.Merge) bool { return m.Status == "running" || m.Status == "waiting" })
	}, 3*time.Minute, 200*time.Millisecond, "merges of %s do not end", shelf.shard)
	audit := SoakedShard{Name: shelf.shard, Writes: shelf.writes, Again: shelf.again}
	audit.Documents, audit.Queries = shelf.compare()

	store := s.open()
	sh, err := shard.Open(store, shelf.shard)
	require.NoError(s.t, err)
	newest, err := sh.Newest(s.t.Context())
	require.NoError(s.t, err)
	applied := map[string]uint64{}
	for generation := uint64(1); generation <= newest.Generation; generation++ {
		m, err := sh.At(s.t.Context(), generation)
		require.NoError(s.t, err, "generation %d", generation)
		audit.Generations++
		if by := m.Writer.Task; by != "" {
			audit.Merges++
			require.Zero(s.t, applied[by], "the merge %s has its effect in generation %d and again in %d", by, applied[by], generation)
			applied[by] = generation
		}
	}
	require.Positive(s.t, audit.Merges)
	s.audit.Shards = append(s.audit.Shards, audit)
	s.t.Logf("%s: %d writes, %d documents as they were acknowledged, %d queries as on a plain index, %d generations, %d merges, each with one effect",
		audit.Name, audit.Writes, audit.Documents, audit.Queries, audit.Generations, audit.Merges)
}

// open opens the store of the fleet.
func (s *soak) open() remotestore.Store {
	query := url.Values{"endpoint": {s.bucket.Endpoint}, "region": {s.bucket.Region}}
	store, err := remotestore.Open(s.t.Context(), remotestore.Config{
		URL:       "s3://" + s.bucket.Name + "/shards?" + query.Encode(),
		AccessKey: s.bucket.AccessKey, SecretKey: remotestore.Secret(s.bucket.SecretKey),
	})
	require.NoError(s.t, err)
	return store
}
