package bench

import (
	"os"
	"testing"

	"github.com/offline-nodes/offline-nodes/test/fleet"
)

func TestMain(m *testing.M) { os.Exit(fleet.Main(m)) }
