package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	tags = "synctests mutants"
	// patience is how long one test may take; with a mutant a quarter of it, for a broken rule may be what ends it.
	patience = 3 * time.Minute
	// plays is how often a test may miss a mutant: some of them draw lots.
	plays = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	only := flag.String("only", "", "break only the rules whose name matches")
	out := flag.String("out", "", "write the table to this file, too")
	flag.Parse()
	if err := run(ctx, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, out string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(catalogue), func(r row) bool { return !wanted.MatchString(r.rule) })
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := builds{dir: dir}
	if err := b.make(ctx, chosen); err != nil {
		return err
	}
	began := time.Now()
	results := make([]result, len(chosen))
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				results[i] = b.judge(ctx, chosen[i])
				fmt.Fprintln(os.Stderr, results[i].line())
			}
		})
	}
	for i := range chosen {
		next <- i
	}
	close(next)
	workers.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := table(results, time.Since(began))
	fmt.Fprint(os.Stdout, text)
	if out != "" {
		if err := os.WriteFile(out, []byte(text), 0o644); err != nil { //nolint:gosec // a document
			return err
		}
	}
	if n := missed(results); n > 0 {
		return fmt.Errorf("%d of %d rules are missed by nothing", n, len(results))
	}
	return nil
}

// builds are the packages' tests, compiled with every switch in them.
type builds struct {
	dir string

	mu     sync.Mutex
	passes map[string]verdict // of tests without a mutant
}

func (b *builds) make(ctx context.Context, rows []row) error {
	b.passes = map[string]verdict{}
	var packages []string
	for _, r := range rows {
		packages = append(packages, r.in)
	}
	slices.Sort(packages)
	for _, p := range slices.Compact(packages) {
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-tags", tags, "-o", b.binary(p), "./"+p) //nolint:gosec // of our own making
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the tests of %s: %w\n%s", p, err, text)
		}
	}
	return nil
}

func (b *builds) binary(in string) string {
	return filepath.Join(b.dir, strings.ReplaceAll(in, "/", "-")+".test")
}

// verdict is what a test said without a mutant.
type verdict struct {
	err  error
	took time.Duration
}

// result is what became of one mutant.
type result struct {
	row
	err  error // it was not noticed, or the test does not pass without it
	took time.Duration
}

func (r result) line() string {
	if r.err != nil {
		return fmt.Sprintf("MISSED  %s: %v", r.rule, r.err)
	}
	return fmt.Sprintf("caught  %s (%.1f s)", r.rule, r.took.Seconds())
}

// judge wants the test to pass without the mutant and to fail with it.
func (b *builds) judge(ctx context.Context, r row) result {
	v := b.pass(ctx, r)
	if v.err != nil || r.own { // one of its own: it breaks the rule itself, and passes when that is noticed
		return result{row: r, err: v.err, took: v.took}
	}
	began := time.Now()
	for range plays {
		text, err := b.test(ctx, r, r.rule)
		var exit *exec.ExitError
		switch {
		case err == nil:
		case errors.As(err, &exit) && (strings.Contains(text, "--- FAIL") || strings.Contains(text, "panic: test timed out")):
			return result{row: r, took: time.Since(began)}
		default:
			return result{row: r, err: fmt.Errorf("%s ended without a verdict: %w\n%s", r.by, err, text)}
		}
	}
	return result{row: r, err: fmt.Errorf("%s passes all the same", r.by)}
}

// pass runs a test as it is, once for all rules that it guards.
func (b *builds) pass(ctx context.Context, r row) verdict {
	key := r.in + " " + r.by
	b.mu.Lock()
	v, known := b.passes[key]
	b.mu.Unlock()
	if known {
		return v
	}
	began := time.Now()
	text, err := b.test(ctx, r, "")
	switch {
	case err != nil:
		err = fmt.Errorf("%s fails without it: %w\n%s", r.by, err, text)
	case !strings.Contains(text, "--- PASS"):
		err = fmt.Errorf("there is no test %s", r.by)
	}
	v = verdict{err, time.Since(began)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passes[key] = v
	return v
}

// test runs one test in its package's folder.
func (b *builds) test(ctx context.Context, r row, mutant string) (string, error) {
	timeout := patience
	if mutant != "" {
		timeout = patience / 4
	}
	cmd := exec.CommandContext(ctx, b.binary(r.in), "-test.run", pattern(r.by), "-test.v", "-test.timeout", timeout.String()) //nolint:gosec // of our own making
	cmd.Dir = r.in
	cmd.Env = append(os.Environ(), "MUTANT="+mutant, "MODEL_LONG=1")
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// pattern matches one test, as `go test -v` names it, and those below it.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

func missed(results []result) (n int) {
	for _, r := range results {
		if r.err != nil {
			n++
		}
	}
	return n
}
