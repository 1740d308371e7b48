package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
)

// part is what some of the processor time is for.
type part struct {
	what string
	time time.Duration
}

// whereItGoes burns tasks down once more, with a CPU profile, and notes where our microseconds go.
func (r *Run) whereItGoes(ctx context.Context, tasks int) error {
	return r.turn(warmUp, ourBest, func(turn int, spec system.Spec) (err error) {
		dir, err := os.MkdirTemp("", "bench-profile-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		spec.Counting, spec.Profile = true, filepath.Join(dir, "worker.pprof")
		b, err := r.openClean(ctx, spec)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.close(ctx)) }()
		if err := b.submit(ctx, 0, tasks, 5000, 1); err != nil {
			return err
		}
		before, err := r.serverParts(ctx)
		if err != nil {
			return err
		}
		if err := b.burn(ctx, turn, "", tasks); err != nil {
			return err
		}
		after, err := r.serverParts(ctx)
		if err != nil {
			return err
		}
		if err := b.workers[0].Stop(20 * time.Second); err != nil { // the profile is written at the end
			return err
		}
		parts, err := workerParts(spec.Profile)
		if err != nil {
			return err
		}
		for i := range after {
			after[i].time -= before[i].time
		}
		r.result.Notes = append(r.result.Notes, partsNote(append(parts, after...), tasks))
		return nil
	})
}

// scriptCommands are those that our scripts call for a task that ends well.
var scriptCommands = []string{"set", "mset", "mget", "del"}

// serverParts is what the servers have used so far.
func (r *Run) serverParts(ctx context.Context) ([]part, error) {
	servers, err := r.Rig.ServersCPU()
	if err != nil {
		return nil, err
	}
	commands, err := r.Rig.RedisCommands(ctx)
	if err != nil {
		return nil, err
	}
	parts := []part{{"Kafka", servers[rig.Kafka]}}
	lua := commands["evalsha"]
	for _, c := range scriptCommands {
		parts = append(parts, part{"Redis: " + strings.ToUpper(c) + " in scripts", commands[c]})
		lua -= commands[c]
	}
	return append(parts, part{"Redis: Lua", lua}, part{"Redis: connections, log, keys that expire", servers[rig.Redis] - commands["evalsha"]}), nil
}

// owners tell by a function's name what it works for.
var owners = []struct{ prefix, what string }{
	{"runtime.gcBgMarkWorker", collecting},
	{"runtime.gcAssistAlloc", collecting},
	{"runtime.bgsweep", collecting},
	{"runtime.bgscavenge", collecting},
	{"github.com/redis/go-redis/", "Redis client"},
	{"github.com/offline-nodes/offline-nodes/pkg/claims.", "claims and settlements"},
	{"github.com/twmb/franz-go/", "Kafka client"},
	{"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue.", "records, events and offsets"},
	{"github.com/offline-nodes/offline-nodes/pkg/task.", "parameters and the run's own state"},
	{"github.com/offline-nodes/offline-nodes/pkg/", "lanes and settler"},
	{"github.com/offline-nodes/offline-nodes/bench/", "handler and its report"},
	{"main.", "handler and its report"},
}

const (
	collecting = "garbage collection"
	scheduling = "Go's scheduler and the rest"
)

// workerParts divides a CPU profile: a sample belongs to the innermost function that has an owner.
func workerParts(path string) ([]part, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p, err := profile.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return divide(p), nil
}

func divide(p *profile.Profile) []part {
	used := map[string]time.Duration{}
	for _, s := range p.Sample {
		used["worker: "+owner(s)] += time.Duration(s.Value[len(s.Value)-1]) // in a CPU profile the last one is nanoseconds
	}
	var parts []part
	for what, t := range used {
		parts = append(parts, part{what, t})
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(b.time, a.time) })
	return parts
}

func owner(s *profile.Sample) string {
	for _, location := range s.Location { // the innermost first, and so are its lines
		for _, line := range location.Line {
			for _, o := range owners {
				if line.Function != nil && strings.HasPrefix(line.Function.Name, o.prefix) {
					return o.what
				}
			}
		}
	}
	return scheduling
}

func partsNote(parts []part, tasks int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Where our microseconds go, by a CPU profile of one more turn of *%s*:\n\n| | CPU µs/task |\n| --- | --- |\n", ourBest)
	for _, p := range parts {
		fmt.Fprintf(&b, "| %s | %s |\n", p.what, report.Number(perTask(p.time, tasks)))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
