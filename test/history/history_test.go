package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

const (
	clients = 5
	length  = 3 * time.Second
	turn    = 300 * time.Millisecond // how long the clients care for one task
)

// protocol is what is tried: claims.Store, or a naive one.
type protocol interface {
	claim(ctx context.Context, id, who, nonce string) (answer, error)
	renew(ctx context.Context, id, handle string) (answer, error)
	settle(ctx context.Context, id, handle string, verb verb) (answer, error)
	cancel(ctx context.Context, id string) (answer, error)
	// handle is what renew and settle are given for a claim.
	handle(id, who, nonce string, token int64) string
}

func TestClaimsAreLinearizable(t *testing.T) {
	t.Parallel()
	h, p := newHistory(t)
	p.LoseAnswers(30)
	prefix := testkit.Name(t) + ":"
	h.protocol = ours{h.open(t, p.Addr, prefix, lease)}
	direct := h.open(t, p.Server, prefix, lease)
	h.warm(t, direct)
	h.live(t, func() {
		for range 2 {
			time.Sleep(length / 6) // the history itself
			p.LoseAnswers(900)     // hardly an answer comes through, however often it is asked
			time.Sleep(2 * lease)
			p.LoseAnswers(30)
			time.Sleep(length / 12)
			h.forget(t, direct, p.Server, prefix)
		}
	})
	h.judge(t, porcupine.Ok)
}

func TestALeaseThatEndsEarlyIsNoticed(t *testing.T) {
	t.Parallel()
	h, p := newHistory(t)
	store := h.open(t, p.Server, testkit.Name(t)+":", lease/2)
	h.protocol = ours{store}
	h.warm(t, store)
	h.live(t, func() {})
	h.judge(t, porcupine.Illegal)
}

func TestANaiveClaimIsNotLinearizable(t *testing.T) {
	t.Parallel()
	h, p := newHistory(t)
	client := redis.NewClient(&redis.Options{Addr: p.Server, PoolSize: 2 * clients})
	t.Cleanup(func() { client.Close() })
	h.protocol = naive{client, testkit.Name(t) + ":"}
	h.live(t, func() {})
	h.judge(t, porcupine.Illegal)
}

// recorder gathers what the clients asked and were answered.
type recorder struct {
	protocol protocol
	began    time.Time

	mu         sync.Mutex
	operations []porcupine.Operation
}

func newHistory(t *testing.T) (*recorder, *testkit.Proxy) {
	t.Helper()
	return &recorder{began: time.Now()}, testkit.StartProxy(t, testkit.Redis(t))
}

func (h *recorder) open(t *testing.T, addr, prefix string, lease time.Duration) *claims.Store {
	t.Helper()
	store, err := claims.Open(t.Context(), claims.Config{
		Addrs: []string{addr}, Prefix: prefix,
		Lease: lease, Beat: lease / 4, Trust: 2 * lease / 3, MaxLost: 90,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// warm opens every bucket, as the first node does.
func (h *recorder) warm(t *testing.T, store *claims.Store) {
	t.Helper()
	cold, err := store.Cold(t.Context())
	require.NoError(t, err)
	nonce := fmt.Sprint(rand.Uint64())
	require.NoError(t, store.MarkCold(t.Context(), nonce, cold.Buckets))
	warmed, err := store.Warm(t.Context(), nonce, cold.Buckets)
	require.NoError(t, err)
	require.Len(t, cold.Buckets, warmed)
}

// forget removes every key at once, and warms Redis again after one lease.
func (h *recorder) forget(t *testing.T, store *claims.Store, addr, prefix string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	h.forAll(forget, func() {
		const script = `local n = 0 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do n = n + redis.call('DEL', key) end return n`
		require.NoError(t, client.Eval(t.Context(), script, nil, prefix+"*").Err())
	})
	time.Sleep(lease)
	h.forAll(warm, func() { h.warm(t, store) })
}

// forAll notes what happens to all tasks.
func (h *recorder) forAll(v verb, do func()) {
	asked := time.Since(h.began)
	do()
	end := time.Since(h.began)
	for n := range tasks {
		h.note(clients, question{verb: v, id: idOf(n), asked: asked, end: end}, answer{})
	}
}

// tasks is how many there are in a history.
const tasks = int(length/turn) + 1

func idOf(n int) string { return fmt.Sprint("task-", n) }

func (h *recorder) note(client int, q question, a answer) {
	end := q.end
	if q.verb != forget && q.verb != warm && a.reply == unknown {
		q.end, end = forever, forever
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: client, Input: q, Call: int64(q.asked), Output: a, Return: int64(end)})
}

// ask makes one call and notes it.
func (h *recorder) ask(client int, q question, call func(ctx context.Context) (answer, error)) answer {
	ctx, stop := context.WithTimeout(context.Background(), lease)
	defer stop()
	q.asked = time.Since(h.began)
	a, err := call(ctx)
	q.end = time.Since(h.began)
	if err != nil {
		a = answer{}
	}
	h.note(client, q, a)
	return a
}

// live lets the clients loose for the length of a history.
func (h *recorder) live(t *testing.T, meanwhile func()) {
	t.Helper()
	h.began = time.Now()
	var wait sync.WaitGroup
	for n := range clients {
		wait.Go(func() { h.client(n) })
	}
	meanwhile()
	wait.Wait()
}

// client claims the task of the turn, works on it in its own way, and is now
// and then too slow, forgetful, or asks for it to be cancelled.
func (h *recorder) client(n int) {
	who := fmt.Sprint("client-", n)
	for calls := 0; time.Since(h.began) < length; calls++ {
		id := idOf(int(time.Since(h.began) / turn))
		pause(10)
		if rand.IntN(250) == 0 {
			h.ask(n, question{verb: cancel, id: id}, func(ctx context.Context) (answer, error) { return h.protocol.cancel(ctx, id) })
			continue
		}
		nonce := fmt.Sprintf("%d-%d", n, calls)
		var a answer
		for range 1 + rand.IntN(3) { // what was not answered is asked again under its nonce
			a = h.ask(n, question{verb: claim, id: id, nonce: nonce}, func(ctx context.Context) (answer, error) { return h.protocol.claim(ctx, id, who, nonce) })
			if a.reply != unknown {
				break
			}
		}
		if a.reply == granted {
			h.work(n, id, nonce, h.protocol.handle(id, who, nonce, a.token))
		}
	}
}

// work renews a claim for a while and settles it, or forgets about it.
func (h *recorder) work(n int, id, nonce, handle string) {
	for range rand.IntN(6) {
		pause(30)
		if rand.IntN(8) == 0 {
			time.Sleep(lease * 3 / 2) // a process that stood still
		}
		a := h.ask(n, question{verb: renew, id: id, nonce: nonce}, func(ctx context.Context) (answer, error) { return h.protocol.renew(ctx, id, handle) })
		if a.reply == lost && rand.IntN(2) == 0 {
			return // else it settles all the same, and must be refused
		}
	}
	v := []verb{succeed, fail}[rand.IntN(2)]
	for range rand.IntN(3) {
		h.ask(n, question{verb: v, id: id, nonce: nonce}, func(ctx context.Context) (answer, error) { return h.protocol.settle(ctx, id, handle, v) })
	}
}

// pause waits up to so many milliseconds.
func pause(ms int) { time.Sleep(time.Duration(rand.IntN(1000*ms)) * time.Microsecond) }

// judge has the history checked.
func (h *recorder) judge(t *testing.T, want porcupine.CheckResult) {
	t.Helper()
	counts := map[string]int{}
	for _, o := range h.operations {
		counts[verbNames[o.Input.(question).verb]+" "+replyNames[o.Output.(answer).reply]]++
	}
	began := time.Now()
	result, info := porcupine.CheckOperationsVerbose(model.ToModel(), h.operations, time.Minute)
	t.Logf("%d calls, %s in %s: %v", len(h.operations), result, time.Since(began).Round(time.Millisecond), counts)
	if result != want {
		path := t.TempDir() + "/history.html"
		if err := porcupine.VisualizePath(model.ToModel(), info, path); err == nil {
			t.Log("a picture of it: ", path)
		}
	}
	require.Equal(t, want, result)
}

// ours is claims.Store, whose answers are read as the model's.
type ours struct{ store *claims.Store }

func (p ours) handle(_, who, nonce string, token int64) string {
	return fmt.Sprintf("%s|%s|%014d", who, nonce, token)
}

func (p ours) claim(ctx context.Context, id, who, nonce string) (answer, error) {
	info := claims.Info{Type: "history"}
	answers, err := p.store.Claim(ctx, who, nonce, []claims.Ask{{ID: id, Attempt: 1, ParamsHash: 7, Info: info.Encode()}})
	if err != nil {
		return answer{}, err
	}
	switch a := answers[0]; a.Verdict {
	case claims.Granted:
		return answer{granted, a.AllocationID}, nil
	case claims.Held:
		return answer{reply: held}, nil
	case claims.Owed:
		return answer{reply: owed}, nil
	case claims.Cold:
		return answer{reply: cold}, nil
	default:
		return answer{}, fmt.Errorf("claim answered %v: %w", a.Verdict, errors.Join(a.Err))
	}
}

func (p ours) renew(ctx context.Context, id, handle string) (answer, error) {
	answers, err := p.store.Beat(ctx, []claims.Beat{{ID: id, Lease: handle, Attempt: 1, ParamsHash: 7}})
	if err != nil {
		return answer{}, err
	}
	replies := map[claims.BeatVerdict]reply{claims.Kept: kept, claims.KeptCancel: keptCancel, claims.Lost: lost}
	return answer{reply: replies[answers[0].Verdict]}, answers[0].Err
}

func (p ours) settle(ctx context.Context, id, handle string, v verb) (answer, error) {
	s := claims.Settlement{ID: id, Lease: handle, Status: task.Success, Attempt: 1, ParamsHash: 7, Fresh: true}
	if v == fail {
		s.Status, s.Reason = task.Failed, task.PermanentFailure
	}
	answers, err := p.store.Settle(ctx, []claims.Settlement{s})
	if err != nil {
		return answer{}, err
	}
	switch a := answers[0]; {
	case a.Verdict == claims.Stale:
		return answer{reply: stale}, nil
	case a.Verdict == claims.Done && a.Status == task.Cancelled:
		return answer{reply: doneCancelled}, nil
	case a.Verdict == claims.Done:
		return answer{reply: done}, nil
	default:
		return answer{}, a.Err
	}
}

func (p ours) cancel(ctx context.Context, id string) (answer, error) {
	info := claims.Info{Type: "history"}
	a, _, err := p.store.Cancel(ctx, id, info.Encode())
	switch {
	case errors.Is(err, claims.ErrCold):
		return answer{reply: cold}, nil
	case err != nil:
		return answer{}, err
	}
	return answer{reply: map[claims.CancelAnswer]reply{
		claims.CancelSettled: cancelled, claims.CancelRequested: requested, claims.CancelTooLate: tooLate,
	}[a]}, nil
}

// naive asks whether a claim is there and then takes it: two may do so at once.
type naive struct {
	client *redis.Client
	prefix string
}

func (p naive) handle(_, _, nonce string, _ int64) string { return nonce }

func (p naive) claim(ctx context.Context, id, _, nonce string) (answer, error) {
	switch err := p.client.Get(ctx, p.prefix+id).Err(); {
	case err == nil:
		return answer{reply: held}, nil
	case !errors.Is(err, redis.Nil):
		return answer{}, err
	}
	err := p.client.Set(ctx, p.prefix+id, nonce, lease).Err()
	return answer{granted, time.Now().UnixNano()}, err
}

func (p naive) renew(ctx context.Context, id, nonce string) (answer, error) {
	if p.client.Get(ctx, p.prefix+id).Val() != nonce {
		return answer{reply: lost}, nil
	}
	return answer{reply: kept}, p.client.PExpire(ctx, p.prefix+id, lease).Err()
}

// settle never ends a task, so that it is claimed often.
func (p naive) settle(context.Context, string, string, verb) (answer, error) {
	return answer{}, errors.New("not tried")
}

func (p naive) cancel(context.Context, string) (answer, error) {
	return answer{}, errors.New("not tried")
}
