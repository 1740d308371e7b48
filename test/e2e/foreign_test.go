package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

// A client in another language, with nothing but a Kafka library, publishes a
// task and reads its event.
func TestAForeignClientPublishesATaskAndReadsItsEvent(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	f.Node("n1")
	libs, err := filepath.Glob(filepath.Join(servers.CacheDir(), "kafka-*", "lib"))
	require.NoError(t, err)
	require.NotEmpty(t, libs, "no Kafka libraries: run `make deps`")
	java := exec.CommandContext(t.Context(), "java", "-cp", filepath.Join(libs[0], "*"), "testdata/Foreign.java",
		strings.Join(f.Kafka, ","), f.Prefix+"tasks.probe", f.Prefix+"tasks.results", "from-afar", f.Prefix+"foreign")
	var stderr strings.Builder
	java.Stderr = &stderr
	began := time.Now()
	out, err := java.Output()
	require.NoError(t, err, stderr.String())
	key, value, _ := strings.Cut(string(out), " ")
	var e task.Event
	require.NoError(t, json.Unmarshal([]byte(value), &e))
	require.Equal(t, key, e.TaskID)
	require.Equal(t, task.Success, e.Status)
	require.JSONEq(t, `{"echo":"from-afar"}`, string(e.Result))
	t.Logf("there and back in %s, the JVM's start included", time.Since(began).Round(time.Millisecond))
}
