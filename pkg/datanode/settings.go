package datanode

import (
	"strconv"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

// The dynamic settings of data nodes.
var (
	settingMerge = settings.Choice("offline.merge", Auto,
		"where data nodes have segments merged: here (off), on offline nodes (always), or there while they keep up (auto)", Off, Auto, Always)
	settingMinBytes = settings.Bytes("offline.min_bytes", 1<<20, 1, false,
		"auto: merges of fewer bytes run on the data node; 1 sends all of them")
	settingMaxQueueAge = settings.Duration("offline.max_queue_age", 2*time.Minute, time.Millisecond,
		"auto: merges run on the data node while the oldest task waits for longer, and what has waited so long is taken back")
	settingMaxQueueDepth = settings.Int("offline.max_queue_depth", 1000, 1, 1<<40,
		"auto: merges run on the data node while more tasks wait for a slot")
	settingLocalMerges = settings.Int("local.merges", 1, 1, 64,
		"merges that run on a data node at the same time")
	settingLocalRate = settings.Bytes("local.merge_rate", 20<<20, 64<<10, true,
		"bytes per second that the merges of a data node write to its disk, all together; 0: no limit")
)

// Definitions are the dynamic settings of data nodes.
func Definitions() []settings.Definition {
	return []settings.Definition{
		settingMerge.Definition, settingMinBytes.Definition, settingMaxQueueAge.Definition, settingMaxQueueDepth.Definition,
		settingLocalMerges.Definition, settingLocalRate.Definition,
	}
}

// Configured are the dynamic settings that a node begins with which is configured so.
func (o Offline) Configured() map[string]string {
	o = o.withDefaults()
	return map[string]string{
		settingMerge.Key:         string(o.Merge),
		settingMinBytes.Key:      settings.FormatBytes(o.MinBytes),
		settingMaxQueueAge.Key:   settings.FormatDuration(o.MaxQueueAge),
		settingMaxQueueDepth.Key: strconv.FormatInt(o.MaxQueueDepth, 10),
	}
}

// Follow takes over the dynamic settings in effect. It is to be called whenever they have changed.
func (n *Node) Follow(v *settings.Values) error {
	err := n.SetOffline(Offline{
		Merge: settingMerge.In(v), MinBytes: settingMinBytes.In(v),
		MaxQueueAge: settingMaxQueueAge.In(v), MaxQueueDepth: settingMaxQueueDepth.In(v),
	})
	if err != nil {
		return err
	}
	return n.SetLocalMerges(LocalMerges{AtOnce: int(settingLocalMerges.In(v)), BytesPerSecond: settingLocalRate.In(v)})
}
