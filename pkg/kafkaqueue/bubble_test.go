//go:build synctests

package kafkaqueue

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// world is a fake Kafka of three brokers in a bubble of fake time.
type world struct {
	*testing.T
	net   kfake.VirtualNetwork
	kafka *kfake.Cluster
	cfg   Config
	start time.Time
	log   *logs
}

// bubble runs a test in fake time. Whatever it starts ends with it.
func bubble(t *testing.T, test func(w *world), options ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		w := &world{T: t, start: time.Now(), log: &logs{t: t}}
		kafka, err := kfake.NewCluster(append([]kfake.Opt{
			kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094), kfake.ListenFn(w.net.Listen),
		}, options...)...)
		require.NoError(t, err)
		t.Cleanup(kafka.Close)
		w.kafka = kafka
		w.cfg = Config{Brokers: kafka.ListenAddrs(), Dialer: w.net.DialContext, FetchWait: 5 * time.Second, Log: slog.New(w.log)}
		test(w)
	})
}

// topics creates what the types need.
func (w *world) topics(types ...string) {
	w.Helper()
	a, err := OpenAdmin(w.cfg)
	require.NoError(w, err)
	defer a.Close()
	require.NoError(w, a.Ensure(w.Context(), types))
}

func (w *world) producer() *Producer {
	w.Helper()
	p, err := NewProducer(w.cfg)
	require.NoError(w, err)
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

func (w *world) client(options ...kgo.Opt) *kgo.Client {
	w.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.cfg.Brokers...), kgo.Dialer(w.cfg.Dialer)}, options...)...)
	require.NoError(w, err)
	w.Cleanup(c.Close)
	return c
}

// running is a consumer whose records are collected.
type running struct {
	*Consumer
	w     *world
	ended chan error
	end   context.CancelFunc

	mu        sync.Mutex
	delivered []task.Delivery
	arrived   map[string]time.Time // of each id, first
	gaps      []Gap
	revoked   []Partition
	pollErr   error
}

func (w *world) consumer(typ string) *running { return w.consumerOf(w.cfg, typ) }

func (w *world) consumerOf(cfg Config, typ string) *running {
	w.Helper()
	r := &running{w: w, ended: make(chan error, 1), arrived: map[string]time.Time{}}
	c, err := NewConsumer(cfg, typ, Hooks{
		Gap:     func(g Gap) { r.mu.Lock(); defer r.mu.Unlock(); r.gaps = append(r.gaps, g) },
		Revoked: func(p Partition) { r.mu.Lock(); defer r.mu.Unlock(); r.revoked = append(r.revoked, p) },
	})
	require.NoError(w, err)
	r.Consumer = c
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	done := make(chan struct{})
	go func() { r.ended <- c.Run(ctx); close(done) }()
	go func() {
		for {
			ds, err := c.Poll(context.Background())
			r.mu.Lock()
			r.delivered = append(r.delivered, ds...)
			for _, d := range ds {
				if _, before := r.arrived[d.ID]; !before {
					r.arrived[d.ID] = time.Now()
				}
			}
			if err != nil {
				r.pollErr = err
				r.mu.Unlock()
				return
			}
			r.mu.Unlock()
		}
	}()
	w.Cleanup(func() { end(); <-done })
	return r
}

// stop ends the consumer orderly.
func (r *running) stop() {
	r.w.Helper()
	r.end()
	select {
	case err := <-r.ended:
		require.NoError(r.w, err)
	case <-time.After(time.Minute):
		r.w.Fatal("consumer does not stop")
	}
}

func (r *running) got() []task.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]task.Delivery(nil), r.delivered...)
}

func (r *running) lost() []Gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.gaps)
}

// pollEnded is what Poll said last; nil while it goes on.
func (r *running) pollEnded() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pollErr
}

func (r *running) arrivals() map[string]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.arrived)
}

// await waits in fake time until n records were delivered in all.
func (r *running) await(n int) []task.Delivery {
	r.w.Helper()
	r.w.eventually(time.Minute, func() bool { return len(r.got()) >= n }, "%d records", n)
	require.Len(r.w, r.got(), n)
	return r.got()
}

// next waits for n more records, which are then forgotten.
func (r *running) next(n int) (ds []task.Delivery) {
	r.w.Helper()
	r.w.eventually(time.Minute, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.delivered) >= n
	}, "%d more records", n)
	r.mu.Lock()
	defer r.mu.Unlock()
	ds, r.delivered = r.delivered, nil
	require.Len(r.w, ds, n)
	return ds
}

func (w *world) eventually(within time.Duration, ok func() bool, what string, args ...any) {
	w.Helper()
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			w.Fatalf("not within %s of fake time: %s", within, fmt.Sprintf(what, args...))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// committed offsets of a type's group: topic -> partition -> offset.
func (w *world) committed(group string) map[string]map[int32]int64 {
	w.Helper()
	admin := kadm.NewClient(w.client())
	offsets, err := admin.FetchOffsets(w.Context(), group)
	require.NoError(w, err)
	out := map[string]map[int32]int64{}
	offsets.Each(func(o kadm.OffsetResponse) {
		if out[o.Topic] == nil {
			out[o.Topic] = map[int32]int64{}
		}
		out[o.Topic][o.Partition] = o.At
	})
	return out
}

// submit publishes n tasks and returns their ids.
func (w *world) submit(p *Producer, typ string, n int) (ids []string) {
	w.Helper()
	tasks := make([]task.Delivery, n)
	for i := range tasks {
		tasks[i] = task.Delivery{Envelope: task.Envelope{ID: task.NewID(), Type: typ}, Params: fmt.Appendf(nil, `{"n":%d}`, i)}
		ids = append(ids, tasks[i].ID)
	}
	require.Nil(w, p.Submit(w.Context(), tasks))
	return ids
}

func idsOf(ds []task.Delivery) (ids []string) {
	for _, d := range ds {
		ids = append(ids, d.ID)
	}
	return ids
}

// logs shows what was logged when the test fails, and remembers it.
type logs struct {
	t  *testing.T
	mu sync.Mutex
	ls []string
}

func (l *logs) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *logs) WithGroup(string) slog.Handler                    { return l }
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ls = append(l.ls, line)
	return nil
}

func (l *logs) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.ls...)
}

type conn = net.Conn

// freezer stops a process's network, as SIGSTOP and cut cables do.
type freezer struct {
	dial func(context.Context, string, string) (net.Conn, error)
	mu   sync.Mutex
	ice  chan struct{} // nil: not frozen
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ice = make(chan struct{})
}

func (f *freezer) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.ice)
	f.ice = nil
}

func (f *freezer) wait() {
	f.mu.Lock()
	ice := f.ice
	f.mu.Unlock()
	if ice != nil {
		<-ice
	}
}

// DialContext is a Config.Dialer.
func (f *freezer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	f.wait()
	c, err := f.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return frozenConn{c, f}, nil
}

type frozenConn struct {
	net.Conn
	f *freezer
}

func (c frozenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.f.wait()
	return n, err
}

func (c frozenConn) Write(b []byte) (int, error) {
	c.f.wait()
	return c.Conn.Write(b)
}
