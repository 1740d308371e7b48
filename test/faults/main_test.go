package faults

import (
	"fmt"
	"os"
	"testing"

	"github.com/offline-nodes/offline-nodes/test/fleet"
)

func TestMain(m *testing.M) {
	if !asked() {
		fmt.Fprintln(os.Stderr, "faults: the rows on real servers are left out: `make faults` runs them, or FAULTS=1")
	}
	os.Exit(fleet.Main(m))
}

// asked says whether the rows are to be run.
func asked() bool { return os.Getenv("FAULTS") == "1" }
