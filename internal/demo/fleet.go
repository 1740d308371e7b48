package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// fleet is the data node and the offline nodes.
type fleet struct {
	place *place
	data  *process
	nodes []*process

	admin map[string]string // address of each node's metrics, by its name
}

const (
	nodes     = 2
	shardName = "docs/0"

	// slots lets a node take over a merge while it runs another one.
	slots = "OFFLINE_TYPES__MERGE__SLOTS=2"
)

// startFleet starts them and waits until the data node answers.
func startFleet(ctx context.Context, p *place, with programs) (*fleet, *dataNode, error) {
	f := &fleet{place: p, admin: map[string]string{}}
	listen, err := freePort(ctx)
	if err != nil {
		return f, nil, err
	}
	f.data, err = f.launch("data-node", false, with.dataNode, []string{
		"--data_node.listen", listen, "--data_node.dir", filepath.Join(p.dir, "cache"), "--data_node.offline.merge", "off",
		"--admin.listen", "", // it answers on its own port
	})
	if err != nil {
		return f, nil, err
	}
	for i := range nodes {
		if err := f.startNode(ctx, fmt.Sprintf("node-%d", i+1), with.offlineNode); err != nil {
			return f, nil, err
		}
	}
	node := newDataNode(listen, shardName)
	return f, node, f.await(ctx, node)
}

// startNode starts an offline node as if it were on another machine: whatever
// the data node needs of this one comes first.
func (f *fleet) startNode(ctx context.Context, name, program string) error {
	listen, err := freePort(ctx)
	if err != nil {
		return err
	}
	f.admin[name] = listen
	node, err := f.launch(name, true, program, []string{
		"--node.types", "merge", "--node.grace", "2s", "--node.scratch_dir", filepath.Join(f.place.dir, name), "--admin.listen", listen,
	}, "run")
	if err == nil {
		f.nodes = append(f.nodes, node)
	}
	return err
}

func (f *fleet) launch(name string, background bool, program string, flags []string, command ...string) (*process, error) {
	args := append(command, "--node.name", name, "--log.level", "info")
	args = append(append(args, f.place.flags...), flags...)
	return launch(f.place.dir, name, background, append([]string{slots}, f.place.environ...), program, args...)
}

// await waits until the data node answers.
func (f *fleet) await(ctx context.Context, node *dataNode) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errNotUp)
	defer cancel()
	for {
		err := node.ready(ctx)
		if err == nil {
			return nil
		}
		if accident := f.accident(); accident != nil {
			return accident
		}
		if !wait(ctx, 50*time.Millisecond) {
			return fmt.Errorf("start data node: %w (%w)", context.Cause(ctx), err)
		}
	}
}

// all are the processes in the order in which they are stopped.
func (f *fleet) all() []*process {
	var all []*process
	for _, p := range append(append([]*process{}, f.nodes...), f.data, f.place.broker) {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// accident tells of the processes that ended unasked.
func (f *fleet) accident() error {
	var errs []error
	for _, p := range f.all() {
		errs = append(errs, p.accident())
	}
	return errors.Join(errs...)
}

// watch calls fail when a process ends unasked.
func (f *fleet) watch(ctx context.Context, fail context.CancelCauseFunc) {
	for _, p := range f.all() {
		go func() {
			if err := p.watch(ctx); err != nil {
				fail(err)
			}
		}()
	}
}

func (f *fleet) node(name string) *process {
	for _, n := range f.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// freePort is a port of loopback that nobody uses now.
func freePort(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// String lists the processes with their ids.
func (f *fleet) String() string {
	var parts []string
	for _, p := range f.all() {
		parts = append(parts, fmt.Sprintf("%s (pid %d)", p.name, p.pid()))
	}
	slices.Reverse(parts)
	return strings.Join(parts, ", ")
}
