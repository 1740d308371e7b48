package rig

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Machine is what figures depend on.
type Machine struct {
	CPU      string
	Cores    int
	MemoryGB int
	Kernel   string
	Versions map[string]string
}

// Describe looks at the machine, and at the versions of the libraries that this program is made of.
func Describe() Machine {
	kernel, _, _ := strings.Cut(strings.TrimSpace(read("/proc/sys/kernel/osrelease")), "-") // what follows is its builder's
	m := Machine{Cores: runtime.NumCPU(), Kernel: kernel, Versions: map[string]string{"Go": strings.TrimPrefix(runtime.Version(), "go")}}
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	for line := range strings.Lines(read("/proc/meminfo")) {
		if rest, found := strings.CutPrefix(line, "MemTotal:"); found {
			if kb, err := strconv.Atoi(strings.Fields(rest)[0]); err == nil {
				m.MemoryGB = (kb + 1<<19) >> 20
			}
		}
	}
	libraries := map[string]string{
		"github.com/hibiken/asynq": "asynq", "github.com/riverqueue/river": "River", "github.com/jackc/pgx/v5": "pgx",
		"github.com/redis/go-redis/v9": "go-redis", "github.com/twmb/franz-go": "franz-go", "github.com/blevesearch/bleve/v2": "bleve",
	}
	if build, found := debug.ReadBuildInfo(); found {
		for _, dep := range build.Deps {
			if name, wanted := libraries[dep.Path]; wanted {
				m.Versions[name] = dep.Version
			}
		}
	}
	return m
}

// Load is the load average of the last minute.
func Load() float64 {
	load, err := strconv.ParseFloat(strings.Fields(read("/proc/loadavg") + " 0")[0], 64)
	if err != nil {
		return 0
	}
	return load
}

// read is a file's text, or nothing: a machine that does not tell is described with less.
func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}
