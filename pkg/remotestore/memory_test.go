package remotestore

import "testing"

func TestMemory(t *testing.T) {
	t.Parallel()
	testContract(t, func(*testing.T) Store { return NewMemory() })
}
