// Command servers starts the real servers that tests need, then runs a command with their addresses in its environment,
// or prints the addresses and waits for Ctrl-C when there is no command.
//
//	go run ./test/testkit/cmd/servers go test ./...
//	go run ./test/testkit/cmd/servers -only kafka,redis
//
// Servers that the environment names already are left alone. When the command ends, so do the servers, and their data
// goes with them; after a failed command the servers' logs are kept, and their place is printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

func main() {
	only := flag.String("only", "kafka,redis,s3", "comma-separated `kinds` of servers to start")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code, err := run(ctx, strings.Split(*only, ","), flag.Args(), os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "servers:", err)
	}
	stop()
	os.Exit(code)
}

// run returns the command's exit status; 1 when it could not be run.
func run(ctx context.Context, kinds, command []string, out io.Writer) (code int, err error) {
	options, err := servers.FromEnvironment()
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "offline-servers-")
	if err != nil {
		return 1, fmt.Errorf("make data folder: %w", err)
	}
	set := servers.NewSet(options, dir)
	defer func() {
		last := context.WithoutCancel(ctx)
		if len(command) > 0 && code != 0 && err == nil {
			err = keepLogs(last, set, out)
		}
		err = errors.Join(err, set.Stop(last), os.RemoveAll(dir))
	}()

	env, err := start(ctx, set, kinds, out)
	if err != nil {
		return 1, err
	}
	if len(command) == 0 {
		forPrograms(env, out)
		fmt.Fprintln(out, "Press Ctrl-C to stop them.")
		<-ctx.Done()
		return 0, nil
	}
	return runCommand(ctx, command, env)
}

// forPrograms prints what the programs of this project want in their environment; a store needs a bucket besides.
func forPrograms(env []string, out io.Writer) {
	names := map[string]string{"OFFLINE_TEST_KAFKA": "OFFLINE_KAFKA__BROKERS", "OFFLINE_TEST_REDIS": "OFFLINE_REDIS__ADDRS"}
	fmt.Fprintln(out, "For the programs:")
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		if theirs := names[name]; theirs != "" {
			fmt.Fprintf(out, "  export %s=%s\n", theirs, value)
		}
	}
}

// start starts what the environment does not name and returns the variables that name it.
func start(ctx context.Context, set *servers.Set, kinds []string, out io.Writer) ([]string, error) {
	group, ctx := errgroup.WithContext(ctx)
	started := make([]*servers.Server, len(kinds))
	for i, name := range kinds {
		kind := servers.Kind(name)
		if given := servers.FromVariable(kind); given != "" {
			fmt.Fprintf(out, "%s at %s, as the environment says\n", kind, given)
			continue
		}
		group.Go(func() (err error) {
			started[i], err = set.Start(context.WithoutCancel(ctx), kind)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var env []string
	for _, server := range started {
		if server == nil {
			continue
		}
		name, value := server.Variable()
		fmt.Fprintf(out, "%s\n  export %s=%s\n", server, name, value)
		env = append(env, name+"="+value)
	}
	return env, nil
}

func runCommand(ctx context.Context, command, env []string) (int, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err := cmd.Run()
	if ctx.Err() != nil {
		return 1, fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil // the command has said why
	}
	if err != nil {
		return 1, fmt.Errorf("run %s: %w", command[0], err)
	}
	return 0, nil
}

// keepLogs saves what the servers wrote to a folder of its own.
func keepLogs(ctx context.Context, set *servers.Set, out io.Writer) error {
	kept, err := os.MkdirTemp("", "offline-logs-")
	if err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	if err := set.SaveLogs(ctx, kept); err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	fmt.Fprintln(out, "The servers' logs are kept in", kept)
	return nil
}
