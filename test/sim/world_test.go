//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Sizes of a world.
const (
	partitions = 2
	brokers    = 2
	slots      = 3 // of a node
	grace      = 20 * time.Second
	// longestLife is how long everything that was accepted may take to end
	// once all faults are healed.
	longestLife = 20 * time.Minute
)

// world is servers, a client, nodes and an observer in one bubble.
type world struct {
	schedule Schedule
	options  Options
	servers  *embedded.Servers
	objects  *remotestore.Memory
	obs      *observer

	client     *client.Client
	clientLink *link
	calls      sync.WaitGroup // of the client, and repairs

	mu        sync.Mutex
	members   []*member // every node that ever started, in order
	submitted []string
	written   int
	over      bool // no node starts any more
	storeLose int  // answers of the object store that are still to be lost
	heals     []func()

	skew    atomic.Int64 // of Redis' clock, nanoseconds
	refusal atomic.Pointer[string]
	raw     *kgo.Client // writes records as programs of others do; meets no fault but the broker's
}

// Options change the system under test, so that the observer can be tested.
type Options struct {
	// Script changes the Lua that Redis gets.
	Script func(lua string) string
	// Publisher and Consumer stand between a node and its queue.
	Publisher func(node.Publisher) node.Publisher
	Consumer  func(node.Consumer) node.Consumer
	// Claims changes the settings of nodes.
	Claims func(*claims.Config)
	// Change is how a shard is changed; shard.Commit unless set.
	Change func(cur shard.Manifest, c shard.Change) (shard.Manifest, error)
	// Deaf hears no node's log.
	Deaf bool
}

// Result is what a history came to.
type Result struct {
	Violations []Violation
	Stats      Stats
	Fake       time.Duration
	Story      []string
}

// patienceWithOne is how long one history may take: where a goroutine waits for a mutex, fake time stands still for ever.
const patienceWithOne = 10 * time.Minute

// play lives through a schedule in a bubble of its own.
func play(t *testing.T, s Schedule, o Options) (r Result) {
	t.Helper()
	var bubble string
	defer func() {
		if left := recover(); left != nil { // a deadlock: goroutines remain for which nothing can happen any more
			r.Violations = append(r.Violations, Violation{I10, fmt.Sprintf("%v\n%s", left, stacks(bubble)), r.Fake})
		}
	}()
	hung := time.AfterFunc(patienceWithOne, func() { panic(fmt.Sprintf("a history hangs: %#v", s)) })
	defer hung.Stop()
	synctest.Test(t, func(t *testing.T) {
		bubble = ownBubble.FindString(string(debug.Stack()))
		w := &world{schedule: s, options: o, objects: remotestore.NewMemory()}
		w.obs = newObserver(w)
		began := time.Now()
		if err := w.live(t.Context()); err != nil {
			w.obs.violate("world", "%v", err)
		}
		time.Sleep(10 * time.Second) // clients' goroutines notice that they are closed
		r = Result{w.obs.violations(), w.obs.counts(), time.Since(began), w.obs.story}
	})
	return r
}

var ownBubble = regexp.MustCompile(`synctest bubble \d+`)

// stacks returns where the goroutines of a bubble are.
func stacks(bubble string) string {
	buf := make([]byte, 64<<20)
	var of []string
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if head, _, _ := strings.Cut(g, "\n"); strings.Contains(head, bubble+"]") {
			of = append(of, g)
		}
	}
	return strings.Join(of, "\n\n")
}

// live starts the world, plays the schedule, heals everything, waits for the
// last outcome, and stops orderly.
func (w *world) live(ctx context.Context) (err error) {
	if w.servers, err = embedded.Start(ctx, embedded.Options{InMemory: true, Brokers: brokers, RedisHook: w.redisHook}); err != nil {
		return err
	}
	defer w.servers.Stop()
	s, err := shard.Open(w.objects, shardName)
	if err != nil {
		return err
	}
	if _, err := s.Create(ctx, shard.Settings{}); err != nil {
		return err
	}
	w.clientLink = w.newLink()
	defer w.clientLink.kill()
	w.client, err = client.Open(ctx, client.Config{Kafka: w.kafka(w.clientLink), Claims: w.claims(w.clientLink), Timeout: 20 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.client.Close(ctx)) }()
	if err := w.client.Ensure(ctx, w.typ()); err != nil {
		return err
	}
	if w.raw, err = kgo.NewClient(kgo.SeedBrokers(w.servers.Addresses.Kafka), kgo.Dialer(w.servers.KafkaDialer)); err != nil {
		return err
	}
	defer w.raw.Close()
	stopObserver, err := w.obs.start(ctx)
	if err != nil {
		return err
	}
	defer stopObserver()
	watch, unwatch := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { w.endRebalances(watch) })
	defer func() {
		unwatch()
		watching.Wait()
	}()
	for range w.schedule.Nodes {
		w.join()
	}
	time.Sleep(15 * time.Second)

	began := time.Now()
	for _, step := range w.schedule.Steps {
		time.Sleep(time.Until(began.Add(step.At)))
		if w.obs.failed() {
			break
		}
		w.take(step)
	}
	w.heal()
	w.calls.Wait()
	w.obs.await(longestLife)
	if !w.obs.failed() {
		w.obs.judgeEnd()
	}
	w.stop()
	return nil
}

// typ is the one task type of this world: effects guarded by the store, or not.
func (w *world) typ() string {
	if w.schedule.Guarded {
		return "guarded"
	}
	return "plain"
}

func (w *world) newLink() *link {
	return &link{
		dial:  [2]func(context.Context, string, string) (net.Conn, error){w.servers.KafkaDialer, w.servers.RedisDialer},
		conns: map[*conn]struct{}{},
	}
}

func (w *world) kafka(l *link) kafkaqueue.Config {
	return kafkaqueue.Config{
		Brokers: []string{w.servers.Addresses.Kafka}, Dialer: l.to(kafka),
		Topics: kafkaqueue.Topics{Partitions: partitions, Replication: 1},
		Delays: []time.Duration{5 * time.Second, 30 * time.Second},
	}
}

func (w *world) claims(l *link) claims.Config {
	cfg := claims.Config{Addrs: []string{w.servers.Addresses.Redis}, Dialer: l.to(redis)}
	if w.options.Claims != nil {
		w.options.Claims(&cfg)
	}
	return cfg
}

// redisHook shows the observer what every command finds, and puts mutants in.
func (w *world) redisHook(peer *server.Peer, command string, args ...string) bool {
	if message := w.refusal.Load(); message != nil && *message != "" {
		peer.WriteError(*message)
		return true
	}
	if mutate := w.options.Script; mutate != nil {
		switch {
		case command == "EVAL":
			args[0] = mutate(args[0])
		case command == "SCRIPT" && len(args) == 2: // LOAD
			args[1] = mutate(args[1])
		}
	}
	if command != "EVAL" && command != "EVALSHA" { // these alone are never called by a script
		return false
	}
	if skew := time.Duration(w.skew.Load()); skew != 0 {
		w.servers.Redis.SetTime(time.Now().Add(skew))
	}
	w.obs.lookAtRedis()
	return false
}

// member is one life of a node.
type member struct {
	w    *world
	name string
	link *link
	svc  *node.Service
	stop context.CancelFunc
	done chan error

	mu      sync.Mutex
	traps   map[string]trap
	leaving bool
	crashed atomic.Bool
	gone    atomic.Bool // it could not start
}

// trap is what happens when a node takes a named step for the n-th time.
type trap struct {
	after  int
	spring func()
}

// join starts a node.
func (w *world) join() *member {
	w.mu.Lock()
	m := &member{w: w, name: fmt.Sprintf("n%d", len(w.members)), link: w.newLink(), done: make(chan error, 1), traps: map[string]trap{}}
	w.members = append(w.members, m)
	w.mu.Unlock()
	mux := task.NewMux()
	options := []task.Option{task.Slots(slots), task.Retry(retryPolicy)}
	if w.schedule.Guarded {
		options = append(options, task.Guarded())
	}
	mux.Register(w.typ(), task.WorkerFunc(m.work), options...)
	queue := w.kafka(m.link)
	queue.ClientID = m.name
	cfg := node.Config{Name: m.name, Kafka: queue, Claims: w.claims(m.link), Workers: mux, Grace: grace, Log: slog.New(w.obs.logs(m))}
	if w.options.Deaf {
		cfg.Log = nil
	}
	cfg.Reached, cfg.WrapPublisher, cfg.WrapConsumer = m.reached, w.options.Publisher, w.options.Consumer
	var err error
	if m.svc, err = node.New(cfg); err != nil {
		w.obs.violate("world", "node %s: %v", m.name, err)
		m.done <- err
		return m
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go func() {
		err := m.svc.Run(ctx)
		if err != nil && strings.Contains(err.Error(), "open redis: READONLY") { // as documented; whoever runs it starts it again
			m.gone.Store(true)
			m.link.kill()
			w.replace(5 * time.Second)
		}
		m.done <- err
	}()
	return m
}

// reached is called at every named step of the node.
func (m *member) reached(step string) {
	m.link.thawed(nil)
	m.mu.Lock()
	t, set := m.traps[step]
	if set && t.after > 0 {
		t.after--
		m.traps[step], set = t, false
	}
	if set {
		delete(m.traps, step)
	}
	m.mu.Unlock()
	if set {
		t.spring()
		m.link.thawed(nil)
	}
}

func (m *member) arm(step string, t trap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.traps[step] = t
}

// crash ends the process as kill -9 does: nothing leaves it any more. Its
// goroutines wind up in silence.
func (m *member) crash() {
	if m.crashed.Swap(true) {
		return
	}
	m.link.kill()
	m.w.obs.crashed(m)
	m.stop()
	m.w.calls.Go(func() {
		time.Sleep(sessionTimeout)
		m.w.expire(m.name)
	})
}

// sessionTimeout of a node's group members.
const sessionTimeout = 10 * time.Second

// expire removes a dead process from its groups. The broker does so itself,
// but for members that die while they join: these kfake keeps for ever.
func (w *world) expire(clientID string) {
	for _, group := range w.groups() {
		if info := w.servers.Broker.GroupInfo(group); info != nil {
			w.remove(context.Background(), group, slices.DeleteFunc(info.Members, func(x kfake.GroupMember) bool { return x.ClientID != clientID }))
		}
	}
}

func (w *world) remove(ctx context.Context, group string, members []kfake.GroupMember) {
	if len(members) == 0 {
		return
	}
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Group = group
	for _, x := range members {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = x.MemberID
		r.Members = append(r.Members, member)
	}
	_, _ = r.RequestWith(ctx, w.raw) // gone already is fine
}

// endRebalances ends those that take longer than a broker allows, until ctx
// ends: kfake waits for members whose connection was cut while they joined,
// and begins to wait anew with every join. Everybody is sent away, also those
// that have joined, which a broker would not do.
func (w *world) endRebalances(ctx context.Context) {
	const patience, every = 65 * time.Second, 5 * time.Second
	since := map[string]time.Time{}
	for {
		for _, group := range w.groups() {
			switch info := w.servers.Broker.GroupInfo(group); {
			case info == nil || info.State != "PreparingRebalance":
				delete(since, group)
			case since[group].IsZero():
				since[group] = time.Now()
			case time.Since(since[group]) > patience:
				w.remove(ctx, group, info.Members)
				delete(since, group)
			}
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return
		}
	}
}

// groups are the consumer groups of the nodes.
func (w *world) groups() []string {
	return []string{"offline-nodes." + w.typ(), "offline-nodes.retry.router"}
}

// leave drains the node as SIGTERM does.
func (m *member) leave() {
	m.mu.Lock()
	m.leaving = true
	m.mu.Unlock()
	m.w.obs.leaves(m)
	m.stop()
}

func (m *member) isLeaving() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leaving
}

// alive are the nodes that have neither crashed nor been told to leave.
func (w *world) alive() (list []*member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		if !m.crashed.Load() && !m.gone.Load() && !m.isLeaving() {
			list = append(list, m)
		}
	}
	return list
}

// later undoes a fault after a while, or when all is healed.
func (w *world) later(after time.Duration, undo func()) {
	once := sync.OnceFunc(undo)
	w.mu.Lock()
	w.heals = append(w.heals, once)
	w.mu.Unlock()
	w.calls.Go(func() {
		time.Sleep(after)
		once()
	})
}

// heal ends every fault and sees to two nodes at least.
func (w *world) heal() {
	w.mu.Lock()
	heals := w.heals
	w.heals = nil
	for _, m := range w.members {
		m.mu.Lock()
		clear(m.traps)
		m.mu.Unlock()
	}
	w.mu.Unlock()
	for _, undo := range slices.Backward(heals) {
		undo()
	}
	for len(w.alive()) < 2 {
		w.join()
	}
	w.obs.healed()
}

// stop drains every node; those that live must end in order.
func (w *world) stop() {
	w.mu.Lock()
	w.over = true
	members := slices.Clone(w.members)
	w.mu.Unlock()
	for _, m := range members {
		if m.stop != nil {
			m.stop()
		}
	}
	for _, m := range members {
		err := <-m.done
		if err != nil && !m.gone.Load() && !m.crashed.Load() && !m.isLeaving() && !w.obs.failed() {
			w.obs.violate(I10, "node %s: %v", m.name, err)
		}
	}
	w.calls.Wait()
}

func (w *world) storeLoses() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.storeLose == 0 {
		return false
	}
	w.storeLose--
	return true
}

// pick chooses one of the nodes that live.
func (w *world) pick(n int) *member {
	list := w.alive()
	if len(list) == 0 {
		return w.join()
	}
	return list[n%len(list)]
}

// anyID is one of the tasks that were submitted.
func (w *world) anyID(n int) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.submitted) == 0 {
		return "", false
	}
	return w.submitted[n%len(w.submitted)], true
}
