//go:build synctests

package sim

import (
	"fmt"
	"os"
	"testing"
)

// TestMain leaves the histories to `make sim`: a random one may find something new at any time, which must not stop
// whoever runs the other tests.
func TestMain(m *testing.M) {
	if os.Getenv("SIM") == "" {
		fmt.Println("test/sim: no history is played here; `make sim SEEDS=10` does it")
		return
	}
	os.Exit(m.Run())
}
