package claims

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
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
	if err := checkName("node id", n.ID); err != nil {
		return err
	}
	if lease < time.Millisecond {
		return fmt.Errorf("%w: a node's lease of %v", ErrInvalid, lease)
	}
	entry, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("register node %s: %w", n.ID, err)
	}
	r := s.run(ctx, scriptCall{
		scriptRegister,
		[]string{s.keys.node(n.ID), s.keys.nodes()},
		[]any{n.ID, string(entry), millis(lease)},
	})[0]
	if r.err != nil {
		return fmt.Errorf("register node %s: %w", n.ID, r.err)
	}
	return nil
}

// Unregister removes the node's entry.
func (s *Store) Unregister(ctx context.Context, id string) error {
	pipe := s.client.Pipeline()
	pipe.Del(ctx, s.keys.node(id))
	pipe.ZRem(ctx, s.keys.nodes(), id)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("unregister node %s: %w", id, err)
	}
	return nil
}

// Nodes lists the nodes whose lease has not ended, by name.
func (s *Store) Nodes(ctx context.Context) ([]Node, error) {
	ids, err := s.client.ZRange(ctx, s.keys.nodes(), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	entries := make([]string, len(ids))
	for i, id := range ids {
		entries[i] = s.keys.node(id)
	}
	values, err := s.client.MGet(ctx, entries...).Result()
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var nodes []Node
	for i, value := range values {
		text, ok := value.(string)
		if !ok {
			continue // its lease has ended
		}
		var n Node
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			return nil, fmt.Errorf("list nodes: entry of %s: %w", ids[i], err)
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return nodes, nil
}
