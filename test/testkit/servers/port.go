package servers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that kernels hand to outgoing connections: a port from that range may be gone
// when a killed server wants it back.
const (
	lowestPort  = 20000
	highestPort = 32000
)

var errNoPort = errors.New("no free port found")

// freePort returns a port of the loopback interface on which nobody listens just now. Another process may take it before
// the server does; start tries again with another port then.
func freePort(ctx context.Context) (int, error) {
	for range 100 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address(port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("probe port %d: %w", port, err)
		}
		return port, nil
	}
	return 0, errNoPort
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
