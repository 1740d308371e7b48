package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// start runs a part until stop, which waits for it.
func start(t testing.TB, part func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

// freePort is one that nobody listens on, as far as is known.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// program is a data node and the servers it uses.
type program struct {
	t        testing.TB
	settings *config.Settings
}

func newProgram(t testing.TB, environ ...string) *program {
	t.Helper()
	environ = append([]string{
		"OFFLINE_STORE__URL=file://" + t.TempDir(), "OFFLINE_DATA_NODE__DIR=" + t.TempDir(),
		"OFFLINE_DATA_NODE__LISTEN=" + freePort(t), "OFFLINE_DATA_NODE__SHARDS=books", "OFFLINE_ADMIN__LISTEN=", "OFFLINE_NODE__NAME=data-1",
		"OFFLINE_LOG__LEVEL=error",
	}, environ...)
	settings, err := config.Load(config.Sources{Environ: environ})
	require.NoError(t, err)
	return &program{t, settings}
}

// ask sends a request and reads the answer into answer, if that is not nil. It returns 0 while nobody answers.
func (p *program) ask(method, path, body string, answer any) int {
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.settings.DataNode.Listen+path, bytes.NewBufferString(body))
	require.NoError(p.t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	if answer != nil {
		require.NoError(p.t, json.Unmarshal(raw, answer), "%s", raw)
	}
	return response.StatusCode
}

func (p *program) waitReady() {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.ask("GET", "/readyz", "", nil) == http.StatusOK }, time.Minute, 5*time.Millisecond)
}

// write writes bulks of one document each.
func (p *program) write(from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		status := p.ask("POST", "/shards/books/_bulk", fmt.Sprintf(`{"index":{"_id":"%d"}}`+"\n"+`{"title":"moon %d"}`+"\n", i, i), nil)
		require.Equal(p.t, http.StatusOK, status)
	}
}

func (p *program) stats() (s datanode.Stats) {
	p.t.Helper()
	require.Equal(p.t, http.StatusOK, p.ask("GET", "/shards/books/_stats", "", &s))
	return s
}

func TestWithoutKafkaAndRedisEverythingIsMergedHere(t *testing.T) {
	p := newProgram(t, "OFFLINE_KAFKA__BROKERS="+freePort(t), "OFFLINE_REDIS__ADDRS="+freePort(t))
	stop := start(t, func(ctx context.Context) error { return run(ctx, p.settings) })
	p.waitReady()
	require.Equal(t, http.StatusOK, p.ask("PUT", "/settings?here=true", `{"offline.min_bytes":1}`, nil))
	p.write(0, 12)
	require.Eventually(t, func() bool { return p.stats().Merges.Local > 0 }, time.Minute, 10*time.Millisecond)
	stop()

	stop = start(t, func(ctx context.Context) error { return run(ctx, p.settings) })
	p.waitReady()
	require.EqualValues(t, 12, p.stats().Docs)
	stop()
}

func TestMergesRunOnAnOfflineNode(t *testing.T) {
	servers, err := embedded.Start(t.Context(), embedded.Options{})
	require.NoError(t, err)
	defer servers.Stop()
	p := newProgram(t, append(servers.Addresses.Environ(), "OFFLINE_REDIS__LEASE=3s", "OFFLINE_REDIS__BEAT=200ms", "OFFLINE_REDIS__TRUST=2s")...)
	stop := start(t, func(ctx context.Context) error { return run(ctx, p.settings) })
	defer stop()
	p.waitReady()
	require.Eventually(t, func() bool { // the data node makes the topic
		return p.ask("PUT", "/settings", `{"offline.min_bytes":1}`, nil) == http.StatusOK
	}, time.Minute, 10*time.Millisecond)
	p.write(0, 11)
	require.Eventually(t, func() bool { return p.stats().Merges.Local == 1 }, time.Minute, 10*time.Millisecond, "no offline node is alive")

	stopNode := start(t, offlineNode(t, p.settings))
	defer stopNode()
	require.Eventually(t, func() bool {
		var answer struct{ Planned []datanode.Merge }
		p.write(11, 13)
		require.Equal(t, http.StatusOK, p.ask("POST", "/shards/books/_merge?max_segments=1", "", &answer))
		return p.stats().Merges.Offline > 0
	}, time.Minute, 200*time.Millisecond)
	var answer struct{ Merges []datanode.Merge }
	require.Equal(t, http.StatusOK, p.ask("GET", "/shards/books/_merges", "", &answer))
	offline := 0
	for _, m := range answer.Merges {
		if m.Where == datanode.Remote && m.Status == datanode.Committed {
			offline++
			require.Equal(t, "offline-1", m.Node)
			require.Contains(t, m.Reason, "1 offline node with ")
		}
	}
	require.Positive(t, offline)
	require.EqualValues(t, 13, p.stats().Docs)
}

// offlineNode is a node that runs merges.
func offlineNode(t testing.TB, settings *config.Settings) func(context.Context) error {
	t.Helper()
	cfg, err := settings.Store.Config()
	require.NoError(t, err)
	store, err := remotestore.Open(t.Context(), cfg)
	require.NoError(t, err)
	mux := task.NewMux()
	require.NoError(t, merge.Register(mux, merge.Config{Store: store, Scratch: t.TempDir()}))
	kafka, err := settings.Kafka.Config()
	require.NoError(t, err)
	redis, err := settings.Redis.Config()
	require.NoError(t, err)
	service, err := node.New(node.Config{Name: "offline-1", Kafka: kafka, Claims: redis, Workers: mux, Grace: time.Second})
	require.NoError(t, err)
	return service.Run
}

func TestAForceMergeOfSeveralRoundsRunsOnOfflineNodes(t *testing.T) {
	servers, err := embedded.Start(t.Context(), embedded.Options{})
	require.NoError(t, err)
	defer servers.Stop()
	p := newProgram(t, append(servers.Addresses.Environ(), "OFFLINE_REDIS__LEASE=3s", "OFFLINE_REDIS__BEAT=200ms", "OFFLINE_REDIS__TRUST=2s")...)
	stop := start(t, func(ctx context.Context) error { return run(ctx, p.settings) })
	defer stop()
	p.waitReady()
	stopNode := start(t, offlineNode(t, p.settings))
	defer stopNode()
	require.Equal(t, http.StatusOK, p.ask("PUT", "/settings?here=true", `{"offline.min_bytes":"1GiB","local.merge_rate":"64KiB"}`, nil))
	require.Eventually(t, func() bool {
		return p.ask("PUT", "/settings", `{"offline.merge":"off"}`, nil) == http.StatusOK
	}, time.Minute, 10*time.Millisecond)
	p.write(0, 4) // and so few segments that the policy wants no merge of them
	segments := p.stats().Segments
	require.Positive(t, segments)

	// Expunging deletes of several segments takes several merges: one task does all of them.
	for i := range 2 {
		require.Equal(t, http.StatusOK, p.ask("PUT", fmt.Sprintf("/shards/books/docs/%d", i), `{"title":"new moon"}`, nil))
	}
	require.Equal(t, http.StatusOK, p.ask("PUT", "/settings?here=true", `{"offline.merge":"always"}`, nil))
	for i := 4; i < 8; i++ {
		body := fmt.Sprintf(`{"index":{"_id":"%d"}}`+"\n{}\n"+`{"index":{"_id":"%d"}}`+"\n{}\n"+`{"delete":{"_id":"%d"}}`+"\n", i, 100+i, i-1)
		require.Equal(t, http.StatusOK, p.ask("POST", "/shards/books/_bulk", body, nil))
	}
	docs := p.stats().Docs
	var answer struct{ Planned []datanode.Merge }
	require.Equal(t, http.StatusOK, p.ask("POST", "/shards/books/_merge?expunge=true", "", &answer))
	require.Len(t, answer.Planned, 1)
	require.Equal(t, merge.ForceType, answer.Planned[0].Type)
	require.Equal(t, "asked for to expunge deletes; offline.merge is always", answer.Planned[0].Reason)
	require.Eventually(t, func() bool {
		s := p.stats()
		return s.Merges.Offline > 0 && len(s.Merges.Running) == 0 && s.Deleted == 0
	},
		10*time.Second, 20*time.Millisecond)
	require.Equal(t, docs, p.stats().Docs)

	var history struct {
		History []struct{ Key, Value, By string }
	}
	require.Equal(t, http.StatusOK, p.ask("GET", "/settings/_history", "", &history))
	require.Len(t, history.History, 1, "what is set here alone is not stored")
	require.Equal(t, "127.0.0.1 by way of data-1", history.History[0].By)
}
