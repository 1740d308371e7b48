//go:build unix

package servers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	mobycontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

const dockerTimeout = 5 * time.Second

// prepareTestcontainers keeps testcontainers-go from pulling its reaper image, and its banner out of the tests' output.
// Stop removes what was started.
var prepareTestcontainers = sync.OnceValue(func() error {
	log.SetDefault(log.NewNoopLogger())
	const ryuk = "TESTCONTAINERS_RYUK_DISABLED"
	return os.Setenv(ryuk, cmp.Or(os.Getenv(ryuk), "true"))
})

// pick says which image a server of this kind is to run in; none means a process.
func (o Options) pick(ctx context.Context, kind Kind) (string, error) {
	if o.Where == Local {
		return "", nil
	}
	err := imageIsHere(ctx, o.image(kind))
	switch {
	case err == nil:
		return o.image(kind), nil
	case o.Where == Docker:
		return "", fmt.Errorf("%s in a container: image %s: %w", kind, o.image(kind), err)
	default:
		return "", nil
	}
}

func imageIsHere(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, dockerTimeout)
	defer cancel()
	docker, err := dial(ctx)
	if err != nil {
		return err
	}
	defer docker.Close()
	if _, err := docker.ImageInspect(ctx, image); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	return nil
}

func dial(ctx context.Context) (*testcontainers.DockerClient, error) {
	if err := prepareTestcontainers(); err != nil {
		return nil, fmt.Errorf("prepare testcontainers: %w", err)
	}
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach Docker: %w", err)
	}
	return docker, nil
}

// container runs a server in a container that publishes one port on the loopback interface.
type container struct {
	image   string
	port    int // of this machine
	inside  int // of the container
	command []string
	env     map[string]string
	volumes []string

	made  testcontainers.Container
	ended chan struct{}
}

func (c *container) start(ctx context.Context) error {
	if c.made == nil {
		if err := c.create(ctx); err != nil {
			return err
		}
	}
	docker, err := dial(ctx)
	if err != nil {
		return err
	}
	if err := c.made.Start(ctx); err != nil {
		return errors.Join(fmt.Errorf("%w: container of %s: %w", errEnded, c.image, err), docker.Close())
	}
	ended := make(chan struct{})
	// Asked while it runs, the wait ends with this very run, and not with a later one.
	waiting := docker.ContainerWait(context.WithoutCancel(ctx), c.made.GetContainerID(), client.ContainerWaitOptions{})
	go func() {
		defer docker.Close()
		defer close(ended)
		select {
		case <-waiting.Result:
		case <-waiting.Error: //nolint:errcheck // a daemon that is gone leaves nobody to ask: as good as ended
		}
	}()
	c.ended = ended
	return nil
}

func (c *container) create(ctx context.Context) error {
	port, err := network.ParsePort(strconv.Itoa(c.inside) + "/tcp")
	if err != nil {
		return fmt.Errorf("name port %d: %w", c.inside, err)
	}
	volumes := map[string]struct{}{}
	for _, volume := range c.volumes {
		volumes[volume] = struct{}{}
	}
	c.made, err = testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image: c.image, Cmd: c.command, Env: c.env, ExposedPorts: []string{port.String()},
			ConfigModifier: func(config *mobycontainer.Config) { config.Volumes = volumes },
			HostConfigModifier: func(host *mobycontainer.HostConfig) {
				host.PortBindings = network.PortMap{port: {{
					HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(c.port),
				}}}
			},
		},
	})
	if err != nil {
		return fmt.Errorf("create container of %s: %w", c.image, err)
	}
	return nil
}

func (c *container) signal(ctx context.Context, sig syscall.Signal) error {
	docker, err := dial(ctx)
	if err != nil {
		return err
	}
	defer docker.Close()
	id := c.made.GetContainerID()
	switch sig {
	case syscall.SIGSTOP: // the freezer reaches every process of the container; a signal only the first
		_, err = docker.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	case syscall.SIGCONT:
		_, err = docker.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	default:
		_, err = docker.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: strconv.Itoa(int(sig))})
	}
	if err != nil {
		return fmt.Errorf("signal container of %s: %w", c.image, err)
	}
	return nil
}

func (c *container) exited() <-chan struct{} { return c.ended }

func (c *container) remove(ctx context.Context) error {
	if c.made == nil {
		return nil
	}
	return c.made.Terminate(ctx, testcontainers.StopTimeout(0))
}

func (c *container) output(ctx context.Context) ([]byte, error) {
	logs, err := c.made.Logs(ctx)
	if err != nil {
		return nil, fmt.Errorf("read logs of %s: %w", c.image, err)
	}
	defer logs.Close()
	return io.ReadAll(logs)
}
