package kafkaqueue

import (
	"context"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Router moves records out of the delay tiers when they are due, to the topic
// they name or to a shorter tier. Any number of processes may run one: they
// share the tiers' partitions.
type Router struct{ cfg Config }

// NewRouter does not connect yet. refused gets what cannot be delivered:
// records that cannot be read, or whose target Kafka refuses for good. It is
// called from the router's goroutines and must not block; the record stays in
// its tier until [Router.Finish] is called for it, and comes again if that
// never happens.
func NewRouter(cfg Config, refused func(d task.Delivery, err error)) (*Router, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Router{cfg: cfg.withDefaults()}, nil
}

// Run routes until ctx ends; nil after an orderly stop.
func (r *Router) Run(ctx context.Context) error { return nil }

// Finish says that a refused record has been settled otherwise.
func (r *Router) Finish(d *task.Delivery) {}
