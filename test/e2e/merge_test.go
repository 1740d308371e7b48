package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// dataNode is a data-node process and its HTTP port.
type dataNode struct {
	*process
	url string
}

// dataNode starts one whose merges run offline, on the store that env names.
func (f *fleet) dataNode(name string, env []string) *dataNode {
	f.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(f.t, err)
	addr := listener.Addr().String()
	require.NoError(f.t, listener.Close())
	p := f.start("data-node", env,
		"--kafka.brokers", strings.Join(f.kafka, ","), "--kafka.prefix", f.prefix,
		"--redis.addrs", f.redis, "--redis.prefix", f.prefix, "--node.name", name,
		"--kafka.topics.partitions", "4", "--kafka.topics.replication", "1",
		"--admin.listen", "", "--listen", addr, "--data_node.dir", f.t.TempDir(), "--data_node.offline.merge", "always")
	d := &dataNode{p, "http://" + addr}
	require.Eventually(f.t, func() bool {
		response, err := http.Get(d.url + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, time.Minute, 100*time.Millisecond, "the data node is not ready")
	return d
}

// call asks the data node and decodes its answer into to.
func (d *dataNode) call(method, path, body string, to any) {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, strings.NewReader(body))
	require.NoError(d.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(d.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(d.t, err)
	require.Less(d.t, response.StatusCode, 300, "%s %s: %s", method, path, text)
	if to != nil {
		require.NoError(d.t, json.Unmarshal(text, to))
	}
}

// hits are the ids of a search, in order, and their number.
func (d *dataNode) hits(query string) (ids []string, total uint64) {
	d.t.Helper()
	var answer struct {
		Hits struct {
			Total uint64
			Hits  []struct {
				ID string `json:"_id"`
			}
		}
	}
	d.call(http.MethodPost, "/shards/books/_search", query, &answer)
	for _, h := range answer.Hits.Hits {
		ids = append(ids, h.ID)
	}
	return ids, answer.Hits.Total
}

type merge struct {
	ID, Where, Status, Node string
}

func (d *dataNode) merges() (all []merge) {
	d.t.Helper()
	var answer struct{ Merges []merge }
	d.call(http.MethodGet, "/shards/books/_merges", "", &answer)
	return answer.Merges
}

func TestADataNodesMergesRunOffline(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	bucket := testkit.S3(t)
	env := []string{
		"OFFLINE_STORE__URL=s3://" + bucket.Name + "/shards?endpoint=" + url.QueryEscape(bucket.Endpoint) + "&region=us-east-1",
		"OFFLINE_STORE__ACCESS_KEY=" + bucket.AccessKey, "OFFLINE_STORE__SECRET_KEY=" + bucket.SecretKey,
	}
	nodes := map[string]*process{}
	for _, name := range []string{"n1", "n2"} {
		settings := []string{"node.types=merge"}
		for _, v := range env {
			key, value, _ := strings.Cut(strings.TrimPrefix(v, "OFFLINE_"), "=")
			settings = append(settings, key+"="+value)
		}
		nodes[name] = f.node(name, settings...)
	}
	d := f.dataNode("d1", env)
	d.call(http.MethodPut, "/shards/books", `{"fields":{"title":"text","year":"number","shelf":"keyword"}}`, nil)

	want := map[string]bool{}
	write := func(round int) {
		var bulk bytes.Buffer
		for i := range 150 {
			id := fmt.Sprintf("%d-%d", round, i)
			fmt.Fprintf(&bulk, "{\"index\":{\"_id\":%q}}\n{\"title\":\"whale number %d of the %d sea\",\"year\":%d,\"shelf\":\"s%d\"}\n", id, i, round, 1800+i, i%7)
			want[id] = true
		}
		for i := 0; round > 0 && i < 150; i += 10 {
			id := fmt.Sprintf("%d-%d", round-1, i)
			fmt.Fprintf(&bulk, "{\"delete\":{\"_id\":%q}}\n", id)
			delete(want, id)
		}
		var answer struct{ Errors bool }
		d.call(http.MethodPost, "/shards/books/_bulk?refresh=true", bulk.String(), &answer)
		require.False(t, answer.Errors)
	}
	for round := range 30 {
		write(round)
	}
	query := `{"query":{"term":"s3","field":"shelf"},"size":1000,"sort":["_id"]}`
	before, _ := d.hits(query)

	// A node that is met merging dies; the other one goes on.
	killed := ""
	require.Eventually(t, func() bool {
		for _, m := range d.merges() {
			if killed == "" && m.Where == "offline" && m.Status == "running" && nodes[m.Node] != nil {
				killed = m.Node
				nodes[m.Node].kill()
			}
		}
		d.call(http.MethodPost, "/shards/books/_merge?max_segments=1", "", nil)
		var stats struct{ Segments int }
		d.call(http.MethodGet, "/shards/books/_stats", "", &stats)
		return stats.Segments == 1
	}, 2*time.Minute, 5*time.Millisecond)
	t.Logf("killed while merging: %q", killed)
	write(30) // writes and deletes meet the merge

	require.Eventually(t, func() bool {
		for _, m := range d.merges() {
			if m.Status == "running" || m.Status == "waiting" {
				return false
			}
		}
		return true
	}, 2*time.Minute, 200*time.Millisecond, "merges do not end")
	require.True(t, slices.ContainsFunc(d.merges(), func(m merge) bool { return m.Where == "offline" && m.Status == "committed" }), "%+v", d.merges())
	d.call(http.MethodPost, "/shards/books/_refresh", "", nil)

	got, total := d.hits(`{"size":10000,"sort":["_id"]}`)
	require.Len(t, got, len(want))
	require.EqualValues(t, len(want), total)
	for _, id := range got {
		require.True(t, want[id], "%s was deleted", id)
	}
	after, _ := d.hits(query)
	after = slices.DeleteFunc(after, func(id string) bool { return strings.HasPrefix(id, "30-") })
	before = slices.DeleteFunc(before, func(id string) bool { return !want[id] })
	require.Equal(t, before, after)
}
