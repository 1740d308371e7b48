package fleet

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// DataNode is a data-node process.
type DataNode struct {
	*Process
	// URL is where it answers.
	URL string
}

// DataNode starts a data node whose merges run offline, unless settings, as key=value, say otherwise. It returns when
// the data node is ready.
func (f *Fleet) DataNode(name string, settings ...string) *DataNode {
	f.t.Helper()
	listener, err := new(net.ListenConfig).Listen(f.t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(f.t, err)
	addr := listener.Addr().String()
	require.NoError(f.t, listener.Close())
	d := &DataNode{URL: "http://" + addr}
	d.Process = f.start("data-node", append([]string{
		"node.name=" + name, "data_node.listen=" + addr, "data_node.dir=" + f.t.TempDir(), "data_node.offline.merge=always",
	}, settings...))
	require.Eventually(f.t, func() bool { return d.ready() }, time.Minute, 100*time.Millisecond, "the data node is not ready")
	return d
}

func (d *DataNode) ready() bool {
	status, _, err := d.Do(http.MethodGet, "/readyz", "")
	return err == nil && status == http.StatusOK
}

// Do asks the data node and returns its answer, whatever it says.
func (d *DataNode) Do(method, path, body string) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(d.t.Context(), method, d.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// Call asks the data node, which must agree, and decodes its answer into to, unless that is nil.
func (d *DataNode) Call(method, path, body string, to any) {
	d.t.Helper()
	status, text, err := d.Do(method, path, body)
	require.NoError(d.t, err)
	require.Less(d.t, status, 300, "%s %s: %s", method, path, text)
	if to != nil {
		require.NoError(d.t, json.Unmarshal(text, to))
	}
}

// Hits are the ids of a search of a shard, in order, and how many there are.
func (d *DataNode) Hits(shard, query string) (ids []string, total uint64) {
	d.t.Helper()
	var answer struct {
		Hits struct {
			Total uint64
			Hits  []struct {
				ID string `json:"_id"`
			}
		}
	}
	d.Call(http.MethodPost, "/shards/"+shard+"/_search", query, &answer)
	for _, h := range answer.Hits.Hits {
		ids = append(ids, h.ID)
	}
	return ids, answer.Hits.Total
}

// Merge is what a data node tells of one.
type Merge struct {
	ID, Where, Status, Node string
}

// Merges are those of a shard.
func (d *DataNode) Merges(shard string) []Merge {
	d.t.Helper()
	var answer struct{ Merges []Merge }
	d.Call(http.MethodGet, "/shards/"+shard+"/_merges", "", &answer)
	return answer.Merges
}
