// Command bench measures offline nodes beside the systems that its users would pick instead, on real servers that it
// starts itself, and writes docs/benchmarks.md.
//
//	cd bench && go run . --run 1,2,5          # these scenarios; all unless told
//	cd bench && go run . --run 1 --turns 3    # fewer turns
//	cd bench && go run . --report             # the page again, from the kept results
//	cd bench && go run . --quick --run 1,2,5 --baseline baseline.json
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/scenario"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) == 3 && os.Args[1] == rig.WorkerCommand {
		return rig.RunWorker(context.Background(), os.Args[2], os.Stdout)
	}
	if len(os.Args) == 3 && os.Args[1] == scenario.MergeCommand {
		return scenario.RunMerge(context.Background(), os.Args[2], os.Stdout)
	}
	o, err := parse()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return o.run(ctx)
}

type options struct {
	numbers           []int
	quick, onlyReport bool
	turns, retries    int
	out, results      string
	baseline, keepAs  string
	profiles          string
}

func parse() (options, error) {
	var o options
	var numbers string
	flag.StringVar(&numbers, "run", "", "numbers of scenarios, as in 1,2,5; all unless set")
	flag.BoolVar(&o.quick, "quick", false, "short versions: nothing is written but what the other flags ask for")
	flag.BoolVar(&o.onlyReport, "report", false, "measure nothing: write the page from the kept results")
	flag.IntVar(&o.turns, "turns", 0, "turns that medians are made of; each scenario's own number unless set")
	flag.IntVar(&o.retries, "retries", 1, "how often a turn is taken again in which other programs kept the machine busy")
	flag.StringVar(&o.out, "out", "../docs/benchmarks.md", "the page to write")
	flag.StringVar(&o.results, "results", "results", "folder of the kept results")
	flag.StringVar(&o.baseline, "baseline", "", "file with the ratios to compare a quick run with")
	flag.StringVar(&o.keepAs, "keep-baseline", "", "file to keep the ratios of this quick run in")
	flag.StringVar(&o.profiles, "profiles", "", "folder for CPU profiles of the workers")
	flag.Parse()
	for _, text := range strings.FieldsFunc(numbers, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return o, fmt.Errorf("--run: %w", err)
		}
		o.numbers = append(o.numbers, n)
	}
	if flag.NArg() > 0 {
		return o, fmt.Errorf("unknown arguments %q", flag.Args())
	}
	return o, nil
}

func (o options) run(ctx context.Context) error {
	all := scenario.All()
	if !o.onlyReport {
		results, err := o.measure(ctx, all)
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		if o.quick {
			return o.compare(results)
		}
	}
	pages := make([]report.Scenario, len(all))
	for i, s := range all {
		pages[i] = s.Scenario
	}
	return report.Write(o.out, o.results, pages)
}

// measure takes the scenarios that are wanted, one after the other, and keeps each result as soon as it is there.
func (o options) measure(ctx context.Context, all []scenario.Scenario) (results []*report.Result, err error) {
	var servers *rig.Rig
	defer func() {
		if servers != nil {
			err = errors.Join(err, servers.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o750); err != nil {
			return nil, err
		}
	}
	for _, s := range all {
		if len(o.numbers) > 0 && !slices.Contains(o.numbers, s.Number) {
			continue
		}
		r := scenario.Run{Rig: servers, Quick: o.quick, Turns: o.turns, Retries: o.retries, Profiles: o.profiles, Progress: os.Stderr}
		if servers == nil && !s.NoServers {
			if servers, err = rig.Start(ctx); err != nil {
				return nil, err
			}
			r.Rig = servers
			if err := r.WarmKafka(ctx); err != nil {
				return nil, err
			}
		}
		result, err := r.Measure(ctx, s)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
		fmt.Printf("\n%d. %s\n\n%s\n", s.Number, s.Title, report.Table(s.Scenario, result))
		for _, line := range report.Targets(s.Scenario, result) {
			fmt.Println(line)
		}
		if !o.quick {
			if err := result.Save(o.results); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}
