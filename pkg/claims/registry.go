package claims

import (
	"context"
	"errors"
	"time"
)

// Node is what a node tells about itself.
type Node struct {
	ID        string            `json:"id"` // its claimant
	Name      string            `json:"name"`
	IP        string            `json:"ip,omitempty"`
	Version   string            `json:"version,omitempty"`
	Types     []string          `json:"types"`
	Slots     map[string]int    `json:"slots,omitempty"`   // by type
	Running   map[string]int    `json:"running,omitempty"` // by type
	Labels    map[string]string `json:"labels,omitempty"`
	StartedAt time.Time         `json:"started_at"`
	BeatAt    time.Time         `json:"beat_at"`
	Draining  bool              `json:"draining,omitempty"`
	CPU       float64           `json:"cpu,omitempty"`    // 0 to 1
	Memory    float64           `json:"memory,omitempty"` // 0 to 1
}

// Register writes the node's entry for one lease; call it with every beat.
func (s *Store) Register(ctx context.Context, n Node, lease time.Duration) error {
	return errors.New("not yet")
}

// Unregister removes the node's entry.
func (s *Store) Unregister(ctx context.Context, id string) error { return errors.New("not yet") }

// Nodes lists the nodes whose lease has not ended, by name.
func (s *Store) Nodes(ctx context.Context) ([]Node, error) { return nil, errors.New("not yet") }
