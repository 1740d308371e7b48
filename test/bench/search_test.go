package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

const (
	libraryDocs = 20_000
	bulkDocs    = 200
	searchEvery = 50 * time.Millisecond
	warmUp      = 2 * time.Second
	roundTime   = 12 * time.Second
)

// BenchmarkSearchWhileMerging asks what merges cost the searches and the writes of a data node: when none run (there is no
// offline node, and nothing is merged here), when they run on the data node, and when they run offline. The data
// node and its load have one core, the offline node, Kafka and Redis the other. One shard is written to as fast as it
// takes it, and so merged; another one, that does not change, is searched 20 times a second. The three take turns; medians count.
func BenchmarkSearchWhileMerging(b *testing.B) {
	const here, there, rounds = 0, 1, 5
	pin(b, os.Getpid(), there)
	on := fleet.Servers{
		Kafka: []string{testkit.StartKafka(b, nil).Addr}, Redis: []string{testkit.StartRedis(b, "--appendonly", "yes").Addr},
	}
	pin(b, os.Getpid(), here)
	x := &searchBench{b: b, on: on, bulks: makeBulks(), library: b.TempDir(), there: there}
	x.build()
	for b.Loop() {
		seen := map[string][]sample{}
		for range rounds {
			for _, merging := range []string{"none", "local", "offline"} {
				seen[merging] = append(seen[merging], x.round(merging))
			}
		}
		none := middle(seen["none"], sample.p50)
		for merging, samples := range seen {
			b.ReportMetric(middle(samples, sample.p50), merging+"-p50-ms")
			b.ReportMetric(middle(samples, sample.p99), merging+"-p99-ms")
			b.ReportMetric(middle(samples, sample.rate), merging+"-docs/s")
			b.ReportMetric(middle(samples, sample.p50)/none, merging+"-p50/none")
			b.Logf("%-8s p50 %.2f ms, p99 %.2f ms, docs/s %.0f, merges %.0f", merging, all(samples, sample.p50), all(samples, sample.p99),
				all(samples, sample.rate), all(samples, func(s sample) float64 { return float64(s.merges) }))
		}
	}
}

// pin keeps all threads of a process, and those it starts, on one core.
func pin(b *testing.B, pid, core int) {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "taskset", "-acp", strconv.Itoa(core), strconv.Itoa(pid)).CombinedOutput()
	require.NoError(b, err, "%s", out)
}

// sample is what one round has shown.
type sample struct {
	latency []time.Duration // sorted
	docs    int
	merges  int
	took    time.Duration
}

func (s sample) p50() float64  { return milliseconds(s.latency[len(s.latency)/2]) }
func (s sample) p99() float64  { return milliseconds(s.latency[len(s.latency)*99/100]) }
func (s sample) rate() float64 { return float64(s.docs) / s.took.Seconds() }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// all are a figure of every sample, sorted.
func all(samples []sample, of func(sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values
}

func middle(samples []sample, of func(sample) float64) float64 {
	return all(samples, of)[len(samples)/2]
}

type searchBench struct {
	b       *testing.B
	on      fleet.Servers
	bulks   []string
	library string // a store that has the shard of this name
	there   int    // the core of everything but the data node
}

// build fills the shard that is searched.
func (x *searchBench) build() {
	d := fleet.On(x.b, x.on).DataNode("d1", "store.url=file://"+x.library, "data_node.offline.merge=off")
	defer d.Kill()
	const fields = `{"fields":{"title":"text","body":"text","n":"number"}}`
	d.Call(http.MethodPut, "/shards/library", fields, nil)
	for _, bulk := range x.bulks {
		d.Call(http.MethodPost, "/shards/library/_bulk", bulk, nil)
	}
	require.Eventually(x.b, func() bool {
		return !slices.ContainsFunc(d.Merges("library"), func(m fleet.Merge) bool { return m.Status == "waiting" || m.Status == "running" })
	}, time.Minute, 100*time.Millisecond, "the library is merged for ever")
	d.Call(http.MethodPut, "/shards/books", fields, nil)
}

// round measures for some seconds on a copy of the library.
func (x *searchBench) round(merging string) sample {
	store := filepath.Join(x.b.TempDir(), "store")
	require.NoError(x.b, os.CopyFS(store, os.DirFS(x.library)))
	f := fleet.On(x.b, x.on)
	settings := []string{"store.url=file://" + store, "data_node.shards=library,books"}
	switch merging {
	case "local":
		settings = append(settings, "data_node.offline.merge=off")
	case "offline":
		n := f.Node("n1", settings[0], "node.types=merge")
		defer n.Kill()
		pin(x.b, n.Pid(), x.there)
	}
	d := f.DataNode("d1", settings...)
	defer d.Kill()
	x.load(d, warmUp)
	before := merged(d)
	s := x.load(d, roundTime)
	s.merges = merged(d) - before
	require.Equal(x.b, merging != "none", s.merges > 0, "%d merges", s.merges)
	return s
}

// merged is how many merges have ended well.
func merged(d *fleet.DataNode) (n int) {
	for _, m := range d.Merges("books") {
		if m.Status == "committed" {
			n++
		}
	}
	return n
}

// load writes and searches for so long.
func (x *searchBench) load(d *fleet.DataNode, during time.Duration) (s sample) {
	began := time.Now()
	end := began.Add(during)
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; time.Now().Before(end); i++ { // from the second time on they are updates
			x.ask(d, "/shards/books/_bulk", x.bulks[i%len(x.bulks)])
			s.docs += bulkDocs
		}
		s.took = time.Since(began)
	})
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same in every round
	for next := began; next.Before(end); next = next.Add(searchEvery) {
		time.Sleep(time.Until(next))
		asked := time.Now()
		x.ask(d, "/shards/library/_search", fmt.Sprintf(`{"match":{"body":"w%d w%d"},"size":10}`, random.IntN(300), random.IntN(3000)))
		s.latency = append(s.latency, time.Since(asked))
	}
	writing.Wait()
	slices.Sort(s.latency)
	return s
}

// ask is Call, from any goroutine.
func (x *searchBench) ask(d *fleet.DataNode, path, body string) {
	status, answer, err := d.Do(http.MethodPost, path, body)
	if err != nil || status >= http.StatusMultipleChoices {
		x.b.Errorf("%s: %d %s (%v)", path, status, answer, err)
	}
}

// makeBulks makes bulks of documents of about a kilobyte.
func makeBulks() []string {
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same at every run
	words := rand.NewZipf(random, 1.15, 3, 60_000)
	all := make([]string, libraryDocs/bulkDocs)
	for i := range all {
		var lines strings.Builder
		for n := range bulkDocs {
			var body strings.Builder
			for range 160 {
				fmt.Fprintf(&body, "w%d ", words.Uint64())
			}
			id := i*bulkDocs + n
			source, _ := json.Marshal(map[string]any{"title": fmt.Sprint("title ", id), "body": body.String(), "n": id})
			fmt.Fprintf(&lines, "{\"index\":{\"_id\":\"%d\"}}\n%s\n", id, source)
		}
		all[i] = lines.String()
	}
	return all
}
