package remotegc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Defaults, which are the least that is safe: see the package documentation.
const (
	DefaultKeep     = 24 * time.Hour
	DefaultGrace    = 24 * time.Hour
	DefaultReserved = shard.ReservationLife
)

// Config is what a collector works with.
type Config struct {
	// Store holds the shards.
	Store remotestore.Store

	// Pins yields the blobs that something outside of the shards needs: snapshots. An error ends the collection with
	// nothing deleted. It is asked again during a long one. Nil: nothing does.
	Pins func(ctx context.Context) iter.Seq2[Pin, error]

	// Leftovers are folders, such as "tasks/", in which each folder is one task's. It goes when nothing in it was written
	// for as long as a reservation is heeded.
	Leftovers []string

	// Keep is how long a generation is kept after the next one has replaced it. At least, and by default, a day.
	Keep time.Duration

	// Grace is how long a blob must be known as garbage before it is deleted, and how old an upload that was not
	// finished must be. At least, and by default, a day.
	Grace time.Duration

	// Reserved is how long a reservation is heeded. At least, and by default, shard.ReservationLife.
	Reserved time.Duration

	// Meter counts what is found and deleted; default none.
	Meter metric.Meter
}

// Pin is a blob that is needed.
type Pin struct {
	Shard string
	Blob  shard.BlobName
}

// Validate reports every mistake at once. Zero values stand for defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Store == nil {
		errs = append(errs, errors.New("remote gc: no store"))
	}
	least := func(name string, value, least time.Duration) {
		if value < least {
			errs = append(errs, fmt.Errorf("remote gc: %s is %v, at least %v", name, value, least))
		}
	}
	least("keep", c.Keep, DefaultKeep)
	least("grace", c.Grace, DefaultGrace)
	least("reserved", c.Reserved, DefaultReserved)
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.Keep, DefaultKeep)
	set(&c.Grace, DefaultGrace)
	set(&c.Reserved, DefaultReserved)
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	return c
}
