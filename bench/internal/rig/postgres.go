package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresSettings differ from those that PostgreSQL ships: the memory and the room for its log that a server with some
// GB is given. fsync and synchronous_commit are on, as shipped.
var postgresSettings = []string{"shared_buffers=1GB", "max_wal_size=4GB", "max_connections=200", "fsync=on", "synchronous_commit=on"}

// postgres is a private cluster.
type postgres struct {
	url     string
	version string
	cmd     *exec.Cmd
	ended   <-chan struct{}
}

// startPostgres makes a cluster in dir and runs it. Started by root, it runs as postgres or nobody: it refuses root.
func startPostgres(ctx context.Context, dir string) (*postgres, error) {
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(data, 0o700)); err != nil { //nolint:gosec // another user has its folder in it
		return nil, err
	}
	if owner != nil {
		if err := os.Chown(data, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, initdb, "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C")
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	p := &postgres{}
	return p, p.start(ctx, dir, data, owner)
}

func (p *postgres) start(ctx context.Context, dir, data string, owner *syscall.Credential) error {
	program, err := postgresProgram("postgres")
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return err
	}
	args := []string{"-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
	for _, s := range postgresSettings {
		args = append(args, "-c", s)
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = "/", log, log
	p.ended, err = spawn(p.cmd, owner)
	if err := errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	p.url = fmt.Sprintf("postgres://bench@127.0.0.1:%d", port)
	return p.awaitReady(ctx, log.Name())
}

func (p *postgres) awaitReady(ctx context.Context, log string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, p.url+"/postgres")
		if err == nil {
			err = conn.QueryRow(ctx, "SHOW server_version").Scan(&p.version)
			p.version, _, _ = strings.Cut(p.version, " ")
			return errors.Join(err, conn.Close(ctx))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			text, _ := os.ReadFile(log) // that it ended is the error; the log only helps
			return fmt.Errorf("postgres ended while it started\n%s", text)
		}
	}
}

func (p *postgres) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil { // fast shutdown
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(20 * time.Second):
		return p.cmd.Process.Kill()
	}
}

// unprivileged is whom PostgreSQL runs as; nil: as this process.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no other user that could run it")
}

// postgresProgram finds a program of the newest PostgreSQL: Debian keeps them out of the usual path.
func postgresProgram(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: the Debian package postgresql has it", err)
	}
	return path, nil
}

func version(path string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return n
}
