//go:build synctests

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/cli/clitest"
	"github.com/offline-nodes/offline-nodes/internal/garbage"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// stored makes a shard of n segments with four documents each in a folder, one of each deleted but for the first.
func stored(t *testing.T, dir, name string, n int) {
	t.Helper()
	store, err := remotestore.Open(t.Context(), remotestore.Config{URL: "file://" + dir})
	require.NoError(t, err)
	s, err := shard.Open(store, name)
	require.NoError(t, err)
	m, err := s.Create(t.Context(), shard.Settings{})
	require.NoError(t, err)
	mapping, err := shard.ParseMapping(m.Mapping)
	require.NoError(t, err)
	for i := range n {
		var docs []shard.Document
		for k := range 4 {
			docs = append(docs, shard.Document{ID: fmt.Sprint(i*4 + k), Source: json.RawMessage(`{}`)})
		}
		path := filepath.Join(t.TempDir(), "segment")
		seg, err := shard.BuildSegment(t.Context(), path, mapping, docs)
		require.NoError(t, err)
		blob, err := shard.NameBlob(path)
		require.NoError(t, errors.Join(err, s.Upload(t.Context(), blob, path)))
		seg.Blob = blob.Name
		deleted := map[uint64]shard.DocSet{}
		if i > 1 {
			deleted[uint64(i)] = shard.NewDocSet(2)
		}
		_, err = s.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
			return shard.Commit(cur, shard.Change{Writer: shard.Writer{Node: "data-1", At: time.Now()}, Outputs: []shard.Segment{seg}, Deleted: deleted})
		})
		require.NoError(t, err)
	}
}

// worker runs merges, force merges and garbage collections.
func (s *session) worker(dir string) {
	s.T.Helper()
	store, err := remotestore.Open(s.T.Context(), remotestore.Config{URL: "file://" + dir})
	require.NoError(s.T, err)
	mux := task.NewMux()
	require.NoError(s.T, merge.Register(mux, merge.Config{Store: store, Scratch: s.T.TempDir()}))
	require.NoError(s.T, remotegc.Register(mux, garbage.Config(store, nil)))
	s.Serve(node.Config{Name: "node-a", Workers: mux})
}

// random is what differs from run to run: ids, hashes, and what depends on the clock of the file system.
var random = regexp.MustCompile(`[0-9a-f]{64}-[0-9a-f-]{36}|[0-9a-f]{8}-[0-9a-f-]{27}|g\d+-[0-9a-f]{12}|\(?(in )?\d+d( ago\))?|20\d\d-.*Z|[\d.]+ KiB|"bytes_moved":\d+|"stored_at":"[^"]*"`)

func TestShards(t *testing.T) {
	dir := t.TempDir()
	in(t, func(s *session) {
		run := func(args string, options ...clitest.Option) clitest.Result {
			s.T.Helper()
			r := s.Run(args+" --store.url file://"+dir, options...)
			fmt.Fprintf(&s.text, "$ offlinectl %s\n%s", args, random.ReplaceAllString(r.Text(), "…"))
			return r
		}
		run("shard list")
		stored(s.T, dir, "books/0", 5)
		stored(s.T, dir, "books/1", 0)
		run("shard list")
		run("shard show books/0")
		run("shard show books/1")
		run("shard show books")
		run("shard show")
		run("shard merges books/0")
		run("shard force-merge books --wait")
		run("shard force-merge books/0 --max-segments 0")
		run("shard force-merge books/0 --at-once 1")

		s.worker(dir)
		r := run("shard expunge books/0 --wait --json")
		require.Equal(s.T, cli.Done, r.Code)
		var done struct {
			ID     string `json:"task_id"`
			Result merge.ForceResult
		}
		require.NoError(s.T, json.Unmarshal([]byte(r.Out), &done))
		require.Equal(s.T, 3, done.Result.Merges)
		require.Equal(s.T, cli.Done, s.Run("shard force-merge books/0 --at-once 3 --wait --store.url file://"+dir).Code)
		var about shardAbout
		require.NoError(s.T, json.Unmarshal([]byte(s.Run("shard show books/0 --json --store.url file://"+dir).Out), &about))
		require.Equal(s.T, 1, about.Segments)
		require.EqualValues(s.T, 17, about.Docs)
		require.Zero(s.T, about.Deleted)
		require.Len(s.T, about.Detail, 1)
		merges := s.Run("shard merges books/0")
		require.Regexp(s.T, `(?m)^force-merge-\S+ +force-merge +SUCCESS`, merges.Out)
		require.Regexp(s.T, `(?m)^force-merge-\S+/g\d+-[0-9a-f]{12} +merge +SUCCESS`, merges.Out)
		clitest.Golden(s.T, "shards", s.text.String())
	})
}

func TestAForceMergeIsLeftAloneAndCancelled(t *testing.T) {
	in(t, func(s *session) {
		s.Node("node-a", obey)                                           // it has another type
		ctx, cancel := context.WithTimeout(s.T.Context(), 5*time.Second) // nobody takes it; Ctrl-C
		defer cancel()
		r := s.RunContext(ctx, "shard force-merge books/0 --wait")
		require.Equal(s.T, cli.Unknown, r.Code)
		id := regexp.MustCompile(`tasks cancel (\S+)`).FindStringSubmatch(r.Err)
		require.Len(s.T, id, 2, r.Err)
		require.Contains(s.T, r.Err, "the task goes on")
		cancelled := s.Run("tasks cancel " + id[1])
		require.Contains(s.T, cancelled.Out, "CANCELLED", cancelled.Text())
		require.Regexp(s.T, `CANCELLED`, s.Run("shard merges books/0").Out)
	})
}

func TestMergesOfADataNode(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/shards/books%2F0/_merges":
			fmt.Fprint(w, `{"mode":"auto","merges":[{"id":"merge-1","where":"local","status":"running","progress":0.42,"inputs":[1,2],"bytes":2048,
				"node":"data-1","planned_at":"1999-12-31T23:59:00Z","reason":"no offline node is alive"}]}`)
		case "/shards/none/_merges":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":{"type":"not_found","reason":"no such shard on this node: \"none\""}}`)
		default:
			fmt.Fprint(w, "hello")
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	run := func(args ...string) (cli.Code, string) {
		var out strings.Builder
		now := func() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }
		std := &cli.IO{In: strings.NewReader(""), Out: &out, Err: &out, Now: now, Environ: []string{}}
		code := cli.Run(t.Context(), std, newCommand, append(args, "--data-node", "http://"+l.Addr().String()))
		return code, out.String()
	}
	code, text := run("shard", "merges", "books/0")
	require.Equal(t, cli.Done, code)
	require.Regexp(t, `merge-1  local  running 42%  1m +2 +2.0 KiB  data-1  no offline node is alive`, text)
	code, text = run("shard", "merges", "none")
	require.Equal(t, cli.Failed, code)
	require.Contains(t, text, `no such shard on this node: "none"`)
	code, text = run("shard", "merges", "other")
	require.Equal(t, cli.NotDone, code)
	require.Contains(t, text, "it is no data node")
}
