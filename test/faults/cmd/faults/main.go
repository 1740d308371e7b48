// Faults runs the tests of the fault matrix and writes what came of them.
//
//	faults -count 3 -results bin/faults.jsonl -report docs/faults.md
//	faults -rows 13,14              only these; what the file of results says of the others stays
//	faults -package test/faults     only tests of this folder
//	faults -run=false               only the report, from the file of results
//
// A test passes or fails as `go test -json` says, and counts only if it ran. It ends with 1 when one failed.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/offline-nodes/offline-nodes/test/faults"
	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

type options struct {
	count, parallel int
	rows, folder    string
	results, report string
	soak, histories string
	run             bool
}

func main() {
	var o options
	flag.IntVar(&o.count, "count", 3, "runs of each row on real servers")
	flag.IntVar(&o.parallel, "parallel", 3, "rows that run at the same time: mostly they wait")
	flag.StringVar(&o.rows, "rows", "", "numbers of the rows to run, separated by commas; empty: all")
	flag.StringVar(&o.folder, "package", "", "folder whose tests to run, as in test/faults; empty: all that prove something")
	flag.StringVar(&o.results, "results", "bin/faults.jsonl", "where results are kept, a test a line")
	flag.StringVar(&o.report, "report", "docs/faults.md", "where the report is written")
	flag.StringVar(&o.soak, "soak", "bin/soak.json", "the audit of the last soak, for the report; it may be missing")
	flag.StringVar(&o.histories, "histories", "bin/histories.json", "the audit of the last random histories, for the report; it may be missing")
	flag.BoolVar(&o.run, "run", true, "run the tests; else write the report from the results that are kept")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if err := o.do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		stop()
		os.Exit(1)
	}
	stop()
}

var errFailed = errors.New("a test failed: see the report")

func (o options) do(ctx context.Context) error {
	rows, err := chosen(o.rows)
	if err != nil {
		return err
	}
	results, err := faults.ReadResults(o.results)
	if err != nil {
		return err
	}
	failed := false
	if o.run {
		if o.rows == "" && o.folder == "" {
			results = nil
		}
		for _, p := range packages(rows) {
			if o.folder != "" && o.folder != p.folder {
				continue
			}
			came, err := o.test(ctx, p)
			if err != nil {
				return err
			}
			for _, r := range came {
				failed = failed || r.Failed > 0
			}
			results = faults.Replace(results, came)
			if err := write(o.results, func(w io.Writer) error { return faults.WriteResults(w, results) }); err != nil {
				return err
			}
		}
	}
	if err := write(o.report, func(w io.Writer) error {
		return errors.Join(faults.Report(w, results, machine(ctx)),
			audit(w, o.histories, &faults.Histories{}), audit(w, o.soak, &faults.Soaked{}))
	}); err != nil {
		return err
	}
	if failed {
		return errFailed
	}
	return nil
}

func chosen(numbers string) ([]faults.Row, error) {
	if numbers == "" {
		return faults.Rows, nil
	}
	var rows []faults.Row
	for text := range strings.SplitSeq(numbers, ",") {
		number, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("row %q is no number", text)
		}
		row, err := faults.Of(number)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// part is the tests of one package that prove something.
type part struct {
	folder string
	real   bool // rows: they run as often as is asked
	tests  []string
}

// packages are the parts of the rows, what is quick first.
func packages(rows []faults.Row) []part {
	var parts []part
	for _, row := range rows {
		for _, p := range row.Proofs {
			at := slices.IndexFunc(parts, func(o part) bool { return o.folder == p.Package })
			if at < 0 {
				parts = append(parts, part{folder: p.Package, real: p.Package == "test/faults"})
				at = len(parts) - 1
			}
			if !slices.Contains(parts[at].tests, p.Test) {
				parts[at].tests = append(parts[at].tests, p.Test)
			}
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int {
		switch {
		case a.real == b.real:
			return 0
		case b.real:
			return -1
		}
		return 1
	})
	return parts
}

// test runs a part and returns the result of each of its tests.
func (o options) test(ctx context.Context, p part) ([]faults.Result, error) {
	args := []string{"test", "-tags", "synctests", "-json", "-timeout", "60m", "-run", "^(" + strings.Join(p.tests, "|") + ")$"}
	if p.real {
		args = append(args, "-count", strconv.Itoa(o.count), "-parallel", strconv.Itoa(o.parallel))
	} else {
		args = append(args, "-count", "1")
	}
	began := time.Now()
	fmt.Fprintf(os.Stderr, "faults: %s: %s\n", p.folder, strings.Join(p.tests, " "))
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+p.folder)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), "FAULTS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run go test: %w", err)
	}
	g := gather(out, p, os.Stderr)
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	results := g.results(time.Now(), commit(ctx))
	ran := slices.ContainsFunc(results, func(r faults.Result) bool { return r.Passed+r.Failed+r.Skipped > 0 })
	if err != nil && !ran {
		return nil, fmt.Errorf("%s: %w", p.folder, err)
	}
	fmt.Fprintf(os.Stderr, "faults: %s: %s\n", p.folder, time.Since(began).Round(time.Second))
	return results, nil
}

func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// machine names what tests run on.
func machine(ctx context.Context) string {
	redis := "Redis"
	if out, err := exec.CommandContext(ctx, "redis-server", "--version").Output(); err == nil {
		for field := range bytes.FieldsSeq(out) {
			if version, found := bytes.CutPrefix(field, []byte("v=")); found {
				redis = "Redis " + string(version)
			}
		}
	}
	return fmt.Sprintf("one machine with %d cores that does other things too (%s): Apache Kafka %s, %s, versitygw %s, %s",
		runtime.NumCPU(), runtime.GOOS, servers.KafkaVersion, redis, servers.VersityGWVersion, runtime.Version())
}

// audit writes what another program has found, if it has run.
func audit(w io.Writer, path string, a faults.Audit) error {
	err := faults.ReadAudit(path, a)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return a.Report(w)
}

// write replaces a file as a whole.
func write(path string, fill func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := fill(&b); err != nil {
		return err
	}
	if err := os.WriteFile(path+".part", b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
