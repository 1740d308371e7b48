//go:build synctests

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/cli/clitest"
	"github.com/offline-nodes/offline-nodes/internal/garbage"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/schedule"
)

func TestSchedules(t *testing.T) {
	in(t, func(s *session) {
		s.run("schedules list")
		s.run("schedules set nightly --cron '30 2 * * *' --zone Europe/Berlin --type remote-gc --params '{\"folder\":\"books/\"}' --missed once --by ann")
		s.run("schedules set often --cron '*/15 * * * *' --type probe --by ann")
		s.run("schedules set bad/name --cron @daily --type probe")
		s.run("schedules set bad --cron '* * *' --type Probe --missed twice --late 1s")
		s.run("schedules set bad --cron @daily --type probe --params {")
		require.NoError(s.T, s.Client.Set(s.T.Context(), schedule.Key("broken"), []byte(`{"cron":"x"}`), ""))
		require.NoError(s.T, s.Client.Set(s.T.Context(), schedule.MarkKey("often"),
			[]byte(`{"due":"1999-12-31T23:45:00Z","task":"schedule:often:19991231T234500Z"}`), ""))
		s.run("schedules list")
		s.run("schedules list --json")
		s.run("schedules show often --next 2")
		s.run("schedules show nobody")
		s.run("schedules delete often --by ann")
		s.run("schedules delete often")
		s.run("schedules list")
		clitest.Golden(s.T, "schedules", s.text.String())
	})
}

func TestGCNeedsAStore(t *testing.T) {
	in(t, func(s *session) {
		r := s.Run("gc run --dry-run")
		require.Equal(s.T, cli.NotDone, r.Code)
		require.Contains(s.T, r.Err, "store.url is not set")
		r = s.Run("gc run --folder books --dry-run")
		require.Equal(s.T, cli.NotDone, r.Code)
		require.Contains(s.T, r.Err, "does not end with a slash")
	})
}

func TestGCRunsOnTheFleet(t *testing.T) {
	dir := t.TempDir()
	stored(t, dir, "books/0", 2)
	in(t, func(s *session) {
		s.worker(dir)
		r := s.Run("gc run --wait")
		require.Equal(s.T, cli.Done, r.Code, "%s", r.Err)
		require.Contains(s.T, r.Out, "live")
		require.Contains(s.T, r.Err, "1 shard")
		require.NotContains(s.T, r.Err, "already")

		id := strings.TrimSpace(s.Run("gc run books/0").Out)
		s.Eventually("it has ended", func() bool { return strings.Contains(s.Run("tasks get "+id).Out, "SUCCESS") })

		r = s.Run("gc run books/1 --wait --json")
		require.Equal(s.T, cli.Failed, r.Code)
		require.Contains(s.T, r.Err, "books/1")
		var ended struct{ Result remotegc.Result }
		require.NoError(s.T, json.Unmarshal([]byte(r.Out), &ended))
		require.Equal(s.T, 1, ended.Result.Failed)
	})
}

func TestGCStatusTellsWhatWaits(t *testing.T) {
	dir := t.TempDir()
	stored(t, dir, "books/0", 1)
	in(t, func(s *session) {
		status := func() (found gcShard) {
			r := s.Run("gc status --json --store.url file://" + dir)
			require.NoError(s.T, json.Unmarshal([]byte(r.Out), &found), "%s", r.Err)
			return found
		}
		require.Equal(s.T, gcShard{Shard: "books/0"}, status())
		require.Contains(s.T, s.Run("gc status --store.url file://"+dir).Out, "never")

		store, err := remotestore.Open(s.T.Context(), remotestore.Config{URL: "file://" + dir})
		require.NoError(s.T, err)
		require.NoError(s.T, store.Put(s.T.Context(), "books/0/blob/"+strings.Repeat("0", 64)+"-"+uuid.NewString(), []byte("x")))
		collector, err := remotegc.New(garbage.Config(store, nil))
		require.NoError(s.T, err)
		_, err = collector.Collect(s.T.Context(), "books/0", remotegc.Options{})
		require.NoError(s.T, err)
		found := status()
		require.False(s.T, found.LastRun.IsZero())
		require.Equal(s.T, gcShard{Shard: "books/0", Blobs: 1, Bytes: 1, Oldest: found.LastRun, LastRun: found.LastRun}, found)
	})
}
