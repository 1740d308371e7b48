//go:build synctests

package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/cli/clitest"
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
