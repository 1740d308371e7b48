package testkit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

const superviseVariable = "OFFLINE_TEST_SUPERVISE"

// init turns a test binary that was run as the owner of servers into one, before any test is looked for.
//
//nolint:gochecknoinits // the only place that runs in every test binary, whether it has a TestMain or not
func init() {
	if os.Getenv(superviseVariable) == "" {
		return
	}
	if err := supervise(); err != nil {
		fmt.Fprintln(os.Stderr, "testkit:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// supervise starts the servers that are asked for, a line each on standard input, and answers with a line of JSON. When
// the input ends, so has the test binary that asked: the servers are stopped and their data removed.
func supervise() (err error) {
	options, err := servers.FromEnvironment()
	if err != nil {
		return answerAll(func(servers.Kind) answer { return answer{Error: err.Error()} })
	}
	dir, err := os.MkdirTemp("", "offline-servers-")
	if err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	ctx := context.Background()
	set := servers.NewSet(options, dir)
	defer func() { err = errors.Join(err, set.Stop(ctx), os.RemoveAll(dir)) }()

	return answerAll(func(kind servers.Kind) answer {
		server, err := set.Start(ctx, kind)
		if err != nil {
			return answer{Error: err.Error()}
		}
		_, value := server.Variable()
		return answer{Value: value, Says: server.String()}
	})
}

func answerAll(start func(servers.Kind) answer) error {
	asked, answers := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for asked.Scan() {
		if err := answers.Encode(start(servers.Kind(asked.Text()))); err != nil {
			return nil //nolint:nilerr // nobody reads: the tests are over
		}
	}
	return asked.Err()
}
