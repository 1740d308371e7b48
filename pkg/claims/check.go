package claims

import "context"

// Finding is something about the server that an operator should know.
type Finding struct {
	What     string
	Severity string // "info", "warning", "error"
	Advice   string
}

// Check looks at what endangers a promise: eviction, persistence, version, memory, clock.
func (s *Store) Check(ctx context.Context) []Finding { return nil }
