//go:build synctests

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/internal/cli/clitest"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
)

func TestDynamicSettings(t *testing.T) {
	in(t, func(s *session) {
		s.run("settings history")
		s.run("settings set offline.merge always --by ann")
		time.Sleep(90 * time.Minute)
		s.run("settings set offline.merge off --by bob")
		s.run("settings set local.merge_rate 64MiB --by bob")
		p, err := kafkaqueue.NewProducer(s.Kafka())
		require.NoError(s.T, err)
		require.NoError(s.T, p.Set(s.T.Context(), "schedule/nightly", []byte(`{"every":"1d"}`)))
		require.NoError(s.T, p.Close(s.T.Context()))
		time.Sleep(10 * time.Minute)
		s.run("settings list", clitest.Wide(100))
		s.run("settings get offline.merge")
		s.run("settings unset local.merge_rate --by ann")
		s.run("settings get local.merge_rate --json")
		s.run("settings history", clitest.Wide(100))
		s.run("settings history offline.merge --json")
		s.run("settings get offline.mood")
		for args, says := range map[string]string{
			"settings set offline.merge maybe":           `offline.merge is "maybe": use off, auto or always`,
			"settings set offline.mood good":             "there are: offline.merge, offline.min_bytes",
			"settings set local.merge_rate 5":            "at least 64KiB",
			"settings set offline.merge":                 "give a KEY and its VALUE",
			"settings unset offline.mood":                "there is no such setting",
			"settings set schedule/nightly x":            "there is no such setting",
			"settings get":                               "name one KEY",
			"settings history offline.merge offline.mod": "name one KEY",
		} {
			r := s.Run(args)
			require.Equal(s.T, cli.NotDone, r.Code, args)
			require.Contains(s.T, r.Err, says, args)
		}
		clitest.Golden(s.T, "settings", s.text.String())
	})
}
