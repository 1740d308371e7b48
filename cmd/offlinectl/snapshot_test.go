//go:build synctests

package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/cli/clitest"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// stores are a store with two shards and a repository, as folders.
type stores struct{ dir string }

// newStores fills them outside of any bubble: the analysers of the index live as long as the process.
func newStores(t *testing.T) *stores {
	t.Helper()
	s := &stores{t.TempDir()}
	for _, name := range []string{"books", "films"} {
		sh := s.shard(t, name)
		m, err := sh.Create(t.Context(), shard.Settings{})
		require.NoError(t, err)
		mapping, err := shard.ParseMapping(m.Mapping)
		require.NoError(t, err)
		path := filepath.Join(s.dir, "segment")
		seg, err := shard.BuildSegment(t.Context(), path, mapping, []shard.Document{{ID: "1", Source: json.RawMessage(`{"in":"` + name + `"}`)}})
		require.NoError(t, err)
		blob, err := shard.NameBlob(path)
		require.NoError(t, err)
		require.NoError(t, sh.Upload(t.Context(), blob, path))
		require.NoError(t, os.Remove(path))
		seg.Blob = blob.Name
		_, err = sh.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
			return shard.Commit(cur, shard.Change{Outputs: []shard.Segment{seg}})
		})
		require.NoError(t, err)
	}
	return s
}

func (s *stores) open(t *testing.T, name string) remotestore.Store {
	t.Helper()
	store, err := remotestore.NewFilesystem(filepath.Join(s.dir, name))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func (s *stores) shard(t *testing.T, name string) *shard.Shard {
	t.Helper()
	sh, err := shard.Open(s.open(t, "store"), name)
	require.NoError(t, err)
	return sh
}

// settings name the stores in the environment.
func (s *stores) settings(std *cli.IO) {
	std.Environ = append(std.Environ,
		"OFFLINE_STORE__URL=file://"+filepath.Join(s.dir, "store"), "OFFLINE_REPOSITORY__URL=file://"+filepath.Join(s.dir, "repository"))
}

// node runs snapshots until the test ends; all there is to them, or the task types that are named.
func (s *stores) node(w *clitest.World, types ...string) {
	w.T.Helper()
	mux := task.NewMux()
	require.NoError(w.T, snapshot.Register(mux, snapshot.Config{
		Store: s.open(w.T, "store"), Repository: s.open(w.T, "repository"), Scratch: filepath.Join(s.dir, "scratch"), Node: "node-1",
	}))
	w.Serve(node.Config{Name: "node-1", Workers: mux, Types: types})
}

func TestSnapshots(t *testing.T) {
	files := newStores(t)
	in(t, func(s *session) {
		files.node(s.World)
		run := func(args string, want cli.Code, says ...string) clitest.Result {
			s.T.Helper()
			r := s.Run(args, files.settings, clitest.Wide(80))
			require.Equal(s.T, want, r.Code, "%s\n%s", args, r.Text())
			for _, text := range says {
				require.Contains(s.T, r.Text(), text, args)
			}
			for line := range strings.Lines(r.Out) {
				if !strings.HasPrefix(line, "{") && !strings.HasPrefix(line, "snapshot-") && !strings.HasPrefix(line, "restore-") {
					require.LessOrEqual(s.T, len([]rune(strings.TrimSuffix(line, "\n"))), 80, args)
				}
			}
			return r
		}
		run("snapshot list", cli.Done, "No snapshots in the store.")
		run("snapshot create monday books films --wait", cli.Done, "SUCCESS", `"shards":2`)
		run("snapshot create monday books films --repository --wait --json", cli.Done, `"status":"SUCCESS"`)
		run("snapshot create monday books", cli.Failed, "monday: snapshot exists")
		run("snapshot create tuesday nowhere", cli.Failed, "shard nowhere: not in the store")
		run("snapshot list", cli.Done, "SNAPSHOT  STATUS", "monday    COMPLETE")
		run("snapshot list --repository --json", cli.Done, `"snapshot":"monday","repository":true`, `"complete":true`)
		run("snapshot show monday", cli.Done, "Status      COMPLETE", "Holds       2 documents", "SHARD  GENERATION  SEGMENTS  DOCS", "books  2           1         1")
		run("snapshot show monday --repository --json", cli.Done, `"shard":"books"`, `"copied":`)
		run("snapshot status monday --repository", cli.Done, "Status      COMPLETE", "books  SUCCESS  100%")
		run("snapshot status monday --json", cli.Done, `"complete":true`, `"status":"SUCCESS"`)

		before, err := files.shard(s.T, "books").Commit(s.T.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
			return shard.Commit(cur, shard.Change{})
		})
		require.NoError(s.T, err)
		run("snapshot restore monday books --wait", cli.Failed, "the shard has moved on since the snapshot: it is at generation 3, the snapshot has 2")
		run("snapshot restore monday books films=films-2 --force --wait", cli.Done, "SUCCESS")
		after, err := files.shard(s.T, "books").Newest(s.T.Context())
		require.NoError(s.T, err)
		require.Equal(s.T, before.Generation+1, after.Generation)
		run("snapshot restore monday films=films-3 --repository --wait", cli.Done, "SUCCESS")
		for _, name := range []string{"films-2", "films-3"} {
			m, err := files.shard(s.T, name).Newest(s.T.Context())
			require.NoError(s.T, err)
			require.EqualValues(s.T, 1, m.Docs())
		}
		run("snapshot restore monday other", cli.Failed, "snapshot monday does not have it")
		run("snapshot restore none", cli.Failed, "snapshot none: not in the store")
		run("snapshot delete monday --repository --json", cli.Done, `"freed":`)
		run("snapshot delete monday", cli.Done, "monday is deleted")
		run("snapshot delete monday", cli.Failed, "monday: no such snapshot in the store")
		run("snapshot show monday", cli.Failed, "monday: no such snapshot in the store")
	})
}

func TestASnapshotGoesOnWithoutItsCommand(t *testing.T) {
	files := newStores(t)
	in(t, func(s *session) {
		ctx, interrupt := context.WithTimeout(s.T.Context(), 3*time.Second)
		defer interrupt()
		r := s.RunContext(ctx, "snapshot create monday books --wait", files.settings, clitest.Live(80))
		require.Equal(s.T, cli.Unknown, r.Code, r.Text())
		require.Contains(s.T, r.Err, "the task goes on")
		require.Contains(s.T, r.Err, "tasks cancel snapshot-monday-")
		files.node(s.World)
		s.Eventually("it is complete", func() bool {
			d, err := snapshot.Get(s.T.Context(), files.open(s.T, "store"), "monday")
			return err == nil && d.Complete()
		})
	})
}

func TestASnapshotThatIsBeingMadeIsNotDeleted(t *testing.T) {
	files := newStores(t)
	in(t, func(s *session) {
		require.NoError(s.T, s.Client.Ensure(s.T.Context(), snapshot.Types()...))
		files.node(s.World, snapshot.Type) // its children wait
		r := s.Run("snapshot create monday books", files.settings)
		require.Equal(s.T, cli.Done, r.Code, r.Text())
		id := strings.TrimSpace(r.Out)
		s.Eventually("it has begun", func() bool {
			_, err := snapshot.Get(s.T.Context(), files.open(s.T, "store"), "monday")
			return err == nil
		})
		r = s.Run("snapshot delete monday", files.settings)
		require.Equal(s.T, cli.Failed, r.Code, r.Text())
		require.Contains(s.T, r.Err, "tasks cancel "+id)
		r = s.Run("snapshot restore monday", files.settings)
		require.Contains(s.T, r.Err, "snapshot is not complete")
		r = s.Run("snapshot status monday", files.settings, clitest.Wide(80))
		require.Regexp(s.T, `Status      [A-Z]+, 0%`, r.Out)

		require.Equal(s.T, cli.Done, s.Run("tasks cancel "+id).Code)
		s.Ended(id)
		r = s.Run("snapshot status monday", files.settings, clitest.Wide(80))
		require.Contains(s.T, r.Out, "INCOMPLETE: its task ended CANCELLED")
		r = s.Run("snapshot delete monday", files.settings)
		require.Equal(s.T, cli.Done, r.Code, r.Text())
	})
}

func TestASnapshotThatFailed(t *testing.T) {
	files := newStores(t)
	in(t, func(s *session) {
		files.node(s.World)
		id := snapshot.NewTask("monday")
		_, err := s.Client.Submit(s.T.Context(), snapshot.Type, snapshot.Params{Snapshot: "monday", Shards: []string{"nowhere"}}, task.ID(id))
		require.NoError(s.T, err)
		s.Ended(id)
		r := s.Run("snapshot status monday", files.settings, clitest.Wide(80))
		require.Contains(s.T, r.Out, "INCOMPLETE: its task ended FAILED")
		require.Contains(s.T, r.Out, "shard nowhere: not in the store")
		r = s.Run("snapshot list", files.settings, clitest.Wide(80))
		require.Contains(s.T, r.Out, "monday    INCOMPLETE")
		r = s.Run("snapshot delete monday", files.settings)
		require.Equal(s.T, cli.Done, r.Code, r.Text())
	})
}

func TestSnapshotUsage(t *testing.T) {
	in(t, func(s *session) {
		for args, says := range map[string]string{
			"snapshot create":                           "name a snapshot and the shards to keep",
			"snapshot create monday":                    "name a snapshot and the shards to keep",
			"snapshot create .x books":                  "no dot in front",
			"snapshot create monday books books":        "named twice",
			"snapshot create monday books --timeout 1m": "--timeout goes with --wait",
			"snapshot restore":                          "name a snapshot",
			"snapshot restore monday books=":            "name the shard behind =",
			"snapshot restore monday a=c b=c":           "restored twice",
			"snapshot show":                             "name one snapshot",
			"snapshot lsit":                             "did you mean list",
		} {
			r := s.Run(args)
			require.Equal(s.T, cli.NotDone, r.Code, args)
			require.Contains(s.T, r.Err, says, args)
		}
		r := s.Run("snapshot list --repository", func(std *cli.IO) { std.Environ = append(std.Environ, "OFFLINE_STORE__URL=file:///nowhere") })
		require.Contains(s.T, r.Err, "no repository is configured")
	})
}
