package fleet

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// Servers are what a fleet runs on. The zero value of a field is the usual: one broker, one Redis, no store.
type Servers struct {
	Kafka []string
	// Partitions, Replication and MinInsync are of the topics; zero: 4, 1, and the broker's own.
	Partitions  int32
	Replication int16
	MinInsync   int

	Redis   []string
	Master  string // set: Redis are Sentinels
	Cluster bool   // Redis are nodes of a Cluster

	Store *testkit.Bucket
}

// Fleet is a set of programs on real servers, under a prefix of the test's own, and a client that gathers every event.
type Fleet struct {
	Servers

	// Prefix stands before topics, groups and keys.
	Prefix string
	Client *client.Client

	t      testing.TB
	mu     sync.Mutex
	events map[string][]task.Event
	arrive chan struct{} // closed and replaced when an event arrives
}

// New is a fleet on the shared Kafka and Redis.
func New(t testing.TB) *Fleet {
	t.Helper()
	return On(t, Servers{Kafka: testkit.Kafka(t), Redis: []string{testkit.Redis(t)}})
}

// On is a fleet on servers of the test's choice.
func On(t testing.TB, on Servers) *Fleet {
	t.Helper()
	on.Partitions = cmp.Or(on.Partitions, 4)
	on.Replication = cmp.Or(on.Replication, 1)
	f := &Fleet{
		Servers: on, Prefix: testkit.Name(t) + ".",
		t: t, events: map[string][]task.Event{}, arrive: make(chan struct{}),
	}
	var err error
	f.Client, err = client.Open(t.Context(), client.Config{Kafka: f.KafkaConfig(), Claims: f.ClaimsConfig()})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		_ = f.Client.Close(ctx) // a test may have left Kafka down
	})
	require.NoError(t, f.Client.Ensure(t.Context(), "probe"))
	f.listen()
	return f
}

// KafkaConfig opens the fleet's Kafka.
func (f *Fleet) KafkaConfig() kafkaqueue.Config {
	return kafkaqueue.Config{Brokers: f.Kafka, Prefix: f.Prefix, Topics: kafkaqueue.Topics{
		Partitions: f.Partitions, Replication: f.Replication, MinInsync: f.MinInsync,
	}}
}

// ClaimsConfig opens the fleet's Redis.
func (f *Fleet) ClaimsConfig() claims.Config {
	return claims.Config{Addrs: f.Redis, MasterName: f.Master, Cluster: f.Cluster, Prefix: f.Prefix}
}

// listen gathers events until the test ends.
func (f *Fleet) listen() {
	f.t.Helper()
	l, err := f.Client.Listener(kafkaqueue.ListenerConfig{Group: f.Prefix + "test"})
	require.NoError(f.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(f.t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- l.Run(ctx, func(_ context.Context, e task.Event) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events[e.TaskID] = append(f.events[e.TaskID], e)
			close(f.arrive)
			f.arrive = make(chan struct{})
			return nil
		})
	}()
	f.t.Cleanup(func() {
		stop()
		require.NoError(f.t, <-done)
	})
}

// Submit publishes one probe.
func (f *Fleet) Submit(params map[string]any, options ...task.SubmitOption) string {
	f.t.Helper()
	id, err := f.Client.Submit(f.t.Context(), "probe", params, options...)
	require.NoError(f.t, err)
	return id
}

// Heard are the events of a task that the listener has passed on so far.
func (f *Fleet) Heard(id string) []task.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events[id])
}

// Outcome waits for the event of a task's replay.
func (f *Fleet) Outcome(id string, replay int, within time.Duration) task.Event {
	f.t.Helper()
	timeout := time.After(within)
	for {
		e, arrive, found := f.outcome(id, replay)
		if found {
			return e
		}
		select {
		case <-arrive:
		case <-timeout:
			state, err := f.Client.State(f.t.Context(), id)
			require.FailNow(f.t, "no outcome", "of %s within %s: its state is %+v (%v)", id, within, state, err)
		}
	}
}

func (f *Fleet) outcome(id string, replay int) (_ task.Event, arrive <-chan struct{}, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events[id] {
		if e.Replay == replay {
			return e, f.arrive, true
		}
	}
	return task.Event{}, f.arrive, false
}

// Active waits until a task runs, and is as ok wants it (nil: any), and returns its state.
func (f *Fleet) Active(id string, within time.Duration, ok func(*claims.State) bool) *claims.State {
	f.t.Helper()
	var last *claims.State
	require.Eventually(f.t, func() bool {
		s, err := f.Client.State(f.t.Context(), id)
		if err != nil {
			return false
		}
		last = s
		return s.Status == task.Active && (ok == nil || ok(s))
	}, within, 20*time.Millisecond, "task %s is not active", id)
	return last
}

// Node starts an offline-node process. Settings, as key=value, win over those that name the fleet's servers.
func (f *Fleet) Node(name string, settings ...string) *Process {
	f.t.Helper()
	return f.start("offline-node", append([]string{"node.name=" + name}, settings...), "run")
}

// start runs a program on the fleet's servers.
func (f *Fleet) start(program string, settings []string, args ...string) *Process {
	f.t.Helper()
	return Start(f.t, program, Environ(append(f.Settings(), settings...)), args...)
}

// Settings name the fleet's servers to a program, as key=value.
func (f *Fleet) Settings() []string {
	settings := []string{
		"kafka.brokers=" + strings.Join(f.Kafka, ","), "kafka.prefix=" + f.Prefix,
		"kafka.topics.partitions=" + strconv.Itoa(int(f.Partitions)), "kafka.topics.replication=" + strconv.Itoa(int(f.Replication)),
		"kafka.topics.min_insync_replicas=" + strconv.Itoa(f.MinInsync),
		"redis.addrs=" + strings.Join(f.Redis, ","), "redis.master_name=" + f.Master,
		"redis.cluster=" + strconv.FormatBool(f.Cluster), "redis.prefix=" + f.Prefix,
		"admin.listen=", "log.level=debug",
	}
	if f.Store != nil {
		settings = append(settings, StoreSettings(*f.Store)...)
	}
	return settings
}

// StoreSettings name a bucket to a program, as key=value.
func StoreSettings(bucket testkit.Bucket) []string {
	query := url.Values{"endpoint": {bucket.Endpoint}, "region": {bucket.Region}}
	return []string{
		"store.url=s3://" + bucket.Name + "/shards?" + query.Encode(),
		"store.access_key=" + bucket.AccessKey, "store.secret_key=" + bucket.SecretKey,
	}
}

// Environ are settings, as key=value, as a program reads them from its environment. Of two with the same key the later wins.
func Environ(settings []string) []string {
	values := map[string]string{}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		values["OFFLINE_"+strings.ToUpper(strings.ReplaceAll(key, ".", "__"))] = value
	}
	environ := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		environ = append(environ, name+"="+values[name])
	}
	return environ
}
