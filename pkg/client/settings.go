package client

import (
	"context"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
)

// Set stores a setting for all processes, and returns when Kafka has it; nil
// unsets it. [ErrUnknown] when Kafka did not answer: set it again. by says who
// sets it, for the history.
func (c *Client) Set(ctx context.Context, key string, value []byte, by string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	return c.producer.SetBy(ctx, key, value, by)
}

// Lock returns the right to do something that one process at a time should
// do. It is not taken yet.
func (c *Client) Lock(name claims.LockName, claimant string) (*claims.Lock, error) {
	return c.claims.Lock(name, claimant)
}
