// Package garbage joins the collector of a store with the snapshots whose blobs it must keep, and with what reindexes leave.
package garbage

import (
	"context"
	"iter"

	"go.opentelemetry.io/otel/metric"

	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
)

// Config is that of a collector of store, which knows its snapshots. meter may be nil.
func Config(store remotestore.Store, meter metric.Meter) remotegc.Config {
	return remotegc.Config{Store: store, Meter: meter, Leftovers: []string{reindex.Folder}, Pins: func(ctx context.Context) iter.Seq2[remotegc.Pin, error] {
		return func(yield func(remotegc.Pin, error) bool) {
			for p, err := range snapshot.Pins(ctx, store) {
				if !yield(remotegc.Pin{Shard: p.Shard, Blob: p.Blob}, err) {
					return
				}
			}
		}
	}}
}
