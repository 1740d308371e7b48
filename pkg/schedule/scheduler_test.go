package schedule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const lease = 15 * time.Second

var (
	errKafka = errors.New("kafka is away")
	errRedis = errors.New("redis is away")
)

// world is what schedulers share: a settings topic, a queue and a lock.
type world struct {
	t *testing.T

	mu        sync.Mutex
	topic     [][2]any // key and value ([]byte, nil to unset)
	wake      chan struct{}
	submitted map[string][]time.Time // by id
	refuse    func() error           // what Kafka says to a task; nil: it takes it
	kafkaAway bool
	redisAway bool
	hang      bool // servers that are away do not answer at all
	holder    string
	until     time.Time
	onSubmit  func(ctx context.Context, n *node) // when a task is accepted, before the answer
}

func in(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(&world{t: t, wake: make(chan struct{}), submitted: map[string][]time.Time{}})
	})
}

// away waits for the end of ctx when servers hang.
func (w *world) away(ctx context.Context, is *bool, err error) error {
	w.mu.Lock()
	away, hang := *is, w.hang
	w.mu.Unlock()
	if away && hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if away {
		return err
	}
	return ctx.Err()
}

// change changes what the nodes read too.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) set(key string, value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.topic = append(w.topic, [2]any{key, value})
	close(w.wake)
	w.wake = make(chan struct{})
}

func (w *world) newest(key string) (value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.topic {
		if r[0] == key {
			value = r[1].([]byte)
		}
	}
	return value
}

// define sets a schedule as of now.
func (w *world) define(name, cron string, change ...func(*Definition)) {
	w.t.Helper()
	d := Definition{Cron: cron, Type: "work", Since: time.Now().UTC()}
	for _, c := range change {
		c(&d)
	}
	value, err := d.Encode()
	require.NoError(w.t, err)
	w.set(Key(name), value)
}

// node is one scheduler and its view of the world.
type node struct {
	*world
	*Scheduler

	name  string
	ready chan struct{}
	lag   time.Duration // behind the settings topic
	stop  func()
}

func (w *world) start(name string) *node {
	w.t.Helper()
	n := &node{world: w, name: name, ready: make(chan struct{})}
	s, err := New(Config{Submitter: n, Settings: (*follower)(n), Lock: (*locker)(n), Lease: lease, Node: name})
	require.NoError(w.t, err)
	n.Scheduler = s
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(w.t, <-done)
	})
	w.t.Cleanup(n.stop)
	return n
}

func (n *node) Submit(ctx context.Context, typ string, params any, options ...task.SubmitOption) (string, error) {
	if err := n.away(ctx, &n.kafkaAway, errKafka); err != nil {
		return "", err
	}
	s, err := task.NewSubmission(typ, params, options...)
	if err != nil {
		return "", err
	}
	n.world.mu.Lock()
	if n.refuse != nil {
		if err := n.refuse(); err != nil {
			n.world.mu.Unlock()
			return s.ID, err
		}
	}
	n.submitted[s.ID] = append(n.submitted[s.ID], time.Now())
	hook := n.onSubmit
	n.world.mu.Unlock()
	if hook != nil {
		hook(ctx, n)
	}
	return s.ID, ctx.Err()
}

func (n *node) Set(ctx context.Context, key string, value []byte, by string) error {
	if err := n.away(ctx, &n.kafkaAway, errKafka); err != nil {
		return err
	}
	require.Equal(n.t, n.name, by)
	n.set(key, value)
	return nil
}

// follower follows the settings topic.
type follower node

func (f *follower) Ready() <-chan struct{} { return f.ready }

func (f *follower) Run(ctx context.Context, changed func(string, []byte)) error {
	for at := 0; ; at++ {
		f.world.mu.Lock()
		wake, end := f.wake, len(f.topic)
		f.world.mu.Unlock()
		if at == end {
			select {
			case <-f.ready:
			default:
				close(f.ready)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-wake:
				f.world.mu.Lock()
				lag := f.lag
				f.world.mu.Unlock()
				time.Sleep(lag)
			}
		}
		f.world.mu.Lock()
		r := f.topic[at]
		f.world.mu.Unlock()
		changed(r[0].(string), r[1].([]byte))
	}
}

// locker is the lock as one node sees it.
type locker node

func (l *locker) Take(ctx context.Context) (bool, error) {
	if err := l.away(ctx, &l.redisAway, errRedis); err != nil {
		return false, err
	}
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	if now := time.Now(); l.holder == l.name || !now.Before(l.until) {
		l.holder, l.until = l.name, now.Add(lease)
		return true, nil
	}
	return false, nil
}

func (l *locker) Release(context.Context) error {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	if l.holder == l.name {
		l.holder = ""
		l.until = time.Time{}
	}
	return nil
}

// die stops a node without a word: its lock runs out.
func (n *node) die() {
	n.world.mu.Lock()
	n.holder += " (dead)"
	n.world.mu.Unlock()
	n.stop()
}

func (w *world) setAway(kafka, redis bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kafkaAway, w.redisAway = kafka, redis
}

// ids are the tasks of a schedule, by when they were due.
func (w *world) ids(name string) (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.submitted {
		if strings.HasPrefix(id, "schedule:"+name+":") {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// want are the ids of all runs that are due after one time and not after another.
func want(d Definition, name string, after, until time.Time) (ids []string) {
	for at := d.Next(after); !at.After(until); at = d.Next(at) {
		ids = append(ids, TaskID(name, at))
	}
	return ids
}

func (w *world) definition(name string) Definition {
	w.t.Helper()
	d, err := Parse(w.newest(Key(name)))
	require.NoError(w.t, err)
	return d
}

// submittedAll checks that each run since the schedule was set has its task, and no other.
func (w *world) submittedAll(name string) {
	w.t.Helper()
	d := w.definition(name)
	require.Equal(w.t, want(d, name, d.Since, time.Now()), w.ids(name))
}

func TestRunsAreSubmittedWhenTheyAreDue(t *testing.T) {
	in(t, func(w *world) {
		w.define("every-five", "*/5 * * * *", func(d *Definition) { d.Params = []byte(`{"n":1}`) })
		n := w.start("a")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.True(w.t, n.Leads())
		w.submittedAll("every-five")
		require.Len(w.t, w.ids("every-five"), 12)
		for id, times := range w.submitted {
			due, err := time.Parse("20060102T150405Z", id[len("schedule:every-five:"):])
			require.NoError(w.t, err)
			require.Equal(w.t, []time.Time{due}, []time.Time{times[0].UTC()}, "at its very time, and once")
		}
		m, err := ParseMark(w.newest(MarkKey("every-five")))
		require.NoError(w.t, err)
		require.Equal(w.t, w.ids("every-five")[11], m.Task)

		w.define("every-five", "0 12 1 1 *")
		time.Sleep(time.Hour)
		w.set(Key("every-five"), nil)
		time.Sleep(3 * 24 * time.Hour)
		require.Len(w.t, w.ids("every-five"), 12, "changed, then deleted")
	})
}

func TestTheLeaderDiesBetweenTheTaskAndItsMark(t *testing.T) {
	in(t, func(w *world) {
		w.define("x", "*/10 * * * *")
		first := w.start("a")
		time.Sleep(time.Second)
		second := w.start("b")
		w.change(func() {
			w.onSubmit = func(ctx context.Context, n *node) {
				if n == first {
					go first.die()
					<-ctx.Done()
				}
			}
		})
		time.Sleep(25 * time.Minute)
		require.True(w.t, second.Leads())
		w.submittedAll("x")
		require.Len(w.t, w.submitted[w.ids("x")[0]], 2, "submitted again, as the same task")
		require.Len(w.t, w.submitted[w.ids("x")[1]], 1)
	})
}

func TestEachRunHasItsTaskWhateverIsAway(t *testing.T) {
	for seed := range uint64(60) {
		in(t, func(w *world) {
			random, refusals := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1))
			w.define("often", "* * * * *")
			w.define("seldom", "17 */3 * * *", func(d *Definition) { d.Zone = "Asia/Kathmandu" })
			if seed%2 == 0 { // now and then Kafka refuses a task
				w.refuse = func() error {
					if refusals.IntN(4) == 0 {
						return errKafka
					}
					return nil
				}
			}
			nodes := []*node{w.start("n0"), w.start("n1")}
			for i := range 60 {
				hang := random.IntN(2) == 0
				w.change(func() { w.hang = hang })
				switch random.IntN(4) {
				case 0:
					w.setAway(true, random.IntN(2) == 0)
				case 1:
					w.setAway(false, true)
				case 2: // a node dies and another one comes
					k := random.IntN(len(nodes))
					nodes[k].die()
					nodes[k] = w.start(fmt.Sprint("m", i))
					lag := time.Duration(random.IntN(3000)) * time.Millisecond
					w.change(func() { nodes[k].lag = lag })
				case 3:
				}
				time.Sleep(time.Duration(random.IntN(int(DefaultLate / 3)))) // less than late, also with the pauses
				w.setAway(false, false)
				time.Sleep(time.Duration(random.IntN(int(2 * time.Minute))))
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			w.submittedAll("often")
			w.submittedAll("seldom")
			leaders := 0
			for _, n := range nodes {
				if n.Leads() {
					leaders++
				}
			}
			require.Equal(w.t, 1, leaders)
		})
	}
}

func TestMissedRuns(t *testing.T) {
	in(t, func(w *world) {
		w.define("skip", "0 * * * *")
		w.define("once", "0 * * * *", func(d *Definition) { d.Missed = Once })
		w.start("a")
		time.Sleep(90 * time.Minute) // the bubble begins at midnight
		w.setAway(true, true)
		time.Sleep(5 * time.Hour) // 06:30
		w.setAway(false, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(w.t, w.ids("skip"), 1)
		require.Len(w.t, w.ids("once"), 2)
		require.Contains(w.t, w.ids("once")[1], "T060000Z", "the newest makes up for all")
		time.Sleep(time.Hour)
		require.Len(w.t, w.ids("skip"), 2)
		require.Len(w.t, w.ids("once"), 3)
	})
}

func TestAScheduleThatIsChangedDoesNotLookBack(t *testing.T) {
	in(t, func(w *world) {
		w.define("x", "0 12 * * *")
		w.start("a")
		time.Sleep(11 * time.Hour)
		w.define("x", "55 10 * * *", func(d *Definition) { d.Missed = Once })
		time.Sleep(time.Hour)
		require.Empty(w.t, w.ids("x"), "10:55 was before the change, and 12:00 is not due any more")
		time.Sleep(24 * time.Hour)
		w.submittedAll("x")
		require.Len(w.t, w.ids("x"), 1)
	})
}

func TestAScheduleWithoutADateBeginsWhenItIsSeen(t *testing.T) {
	in(t, func(w *world) {
		w.set(Key("x"), []byte(`{"cron":"0 * * * *","type":"work","missed":"once"}`))
		first := w.start("a")
		time.Sleep(10 * time.Minute)
		require.Empty(w.t, w.ids("x"))
		require.NotNil(w.t, w.newest(MarkKey("x")), "so that it is not lost should the node die")
		first.die()
		time.Sleep(3 * time.Hour)
		w.start("b")
		time.Sleep(time.Minute)
		require.Len(w.t, w.ids("x"), 1)
		require.Contains(w.t, w.ids("x")[0], "T030000Z")
	})
}

func TestABadScheduleDoesNotStopTheOthers(t *testing.T) {
	in(t, func(w *world) {
		w.set(Key("bad"), []byte(`{"cron":"x"}`))
		w.set(Key("a/b"), []byte(`{"cron":"* * * * *","type":"work"}`))
		w.set(MarkKey("good"), []byte(`?`))
		w.set("offline.merge", []byte("auto"))
		w.define("good", "* * * * *")
		w.start("a")
		time.Sleep(time.Hour + time.Second)
		w.submittedAll("good")
		require.Len(w.t, w.submitted, 60)
	})
}

func TestATaskWithOtherParametersUnderTheIDCountsAsSubmitted(t *testing.T) {
	in(t, func(w *world) {
		asked := 0
		w.refuse = func() error {
			asked++
			return client.ErrConflict
		}
		w.define("x", "0 * * * *")
		w.start("a")
		time.Sleep(3*time.Hour + time.Second)
		require.Equal(w.t, 3, asked)
	})
}

func TestTheLockPassesOnAtOnceWhenItsHolderStops(t *testing.T) {
	in(t, func(w *world) {
		w.define("x", "* * * * *")
		first := w.start("a")
		time.Sleep(time.Second)
		second := w.start("b")
		time.Sleep(time.Hour)
		w.submittedAll("x")
		for id, times := range w.submitted {
			require.Len(w.t, times, 1, "%s: by one of the two", id)
		}
		require.True(w.t, first.Leads())
		require.False(w.t, second.Leads())
		first.stop()
		time.Sleep(lease / 3)
		synctest.Wait()
		require.True(w.t, second.Leads())
	})
}

func TestConfigNamesWhatIsMissing(t *testing.T) {
	_, err := New(Config{})
	require.ErrorContains(t, err, "needed")
}
