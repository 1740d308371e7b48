package testkit_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
)

const ownerVariable = "OFFLINE_TEST_OWNER"

// However a test binary ends, its servers end too.
func TestServersEndWithTheirTests(t *testing.T) {
	testkit.SkipIfShort(t)
	for name, end := range map[string]func(*os.Process) error{
		"killed":      (*os.Process).Kill,
		"interrupted": func(p *os.Process) error { return p.Signal(os.Interrupt) },
	} {
		t.Run(name, func(t *testing.T) {
			owner := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOwnsServers$", "-test.count=1")
			owner.Env = append(os.Environ(), ownerVariable+"=1", "OFFLINE_TEST_REDIS=", "OFFLINE_TEST_SERVERS=local")
			out, err := owner.StdoutPipe()
			require.NoError(t, err)
			_, err = owner.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, owner.Start())

			lines := bufio.NewScanner(out)
			addrs := []string{}
			for len(addrs) < 2 && lines.Scan() {
				if addr, found := strings.CutPrefix(lines.Text(), "redis "); found {
					addrs = append(addrs, addr)
				}
			}
			require.Len(t, addrs, 2, "one shared, one private")
			for _, addr := range addrs {
				require.True(t, listens(t, addr))
			}

			require.NoError(t, end(owner.Process))
			require.Error(t, owner.Wait())
			for _, addr := range addrs {
				require.Eventually(t, func() bool { return !listens(t, addr) }, time.Minute, 50*time.Millisecond)
			}
		})
	}
}

// TestOwnsServers is the test that TestServersEndWithTheirTests cuts short.
func TestOwnsServers(t *testing.T) {
	if os.Getenv(ownerVariable) == "" {
		t.Skip("run by TestServersEndWithTheirTests alone")
	}
	for _, addr := range []string{testkit.Redis(t), testkit.StartRedis(t).Addr} {
		_, err := os.Stdout.WriteString("redis " + addr + "\n")
		require.NoError(t, err)
	}
	_, err := os.Stdin.Read(make([]byte, 1))
	require.NoError(t, err, "ended before")
}

func listens(t *testing.T, addr string) bool {
	t.Helper()
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return false
	}
	require.NoError(t, connection.Close())
	return true
}
