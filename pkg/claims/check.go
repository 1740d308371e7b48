package claims

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Severity of a [Finding].
type Severity string

// The severities.
const (
	Notice  Severity = "notice"  // worth knowing
	Warning Severity = "warning" // a fault will cost more than it must
	Problem Severity = "problem" // a promise does not hold
)

// Finding is something about the servers that an operator should know.
type Finding struct {
	What     string   `json:"what"`
	Severity Severity `json:"severity"`
	Advice   string   `json:"advice"`
}

const (
	minVersion  = 6 // scripts that read the clock before they write
	minMinor    = 2
	maxSkew     = time.Second
	fullPercent = 80
)

// Check looks at what endangers a promise: eviction, persistence, replication,
// version, memory, clock, and whether scripts may ask who the server is.
func (s *Store) Check(ctx context.Context) []Finding {
	var mu sync.Mutex
	var findings []Finding
	err := s.eachMaster(ctx, func(ctx context.Context, server *redis.Client) error {
		found := s.checkServer(ctx, server)
		mu.Lock()
		defer mu.Unlock()
		findings = append(findings, found...)
		return nil
	})
	if err != nil {
		findings = append(findings, Finding{"redis cannot be reached: " + err.Error(), Problem, "check addresses, TLS and credentials; tasks wait until it is back"})
	}
	cold, err := s.Cold(ctx)
	if err == nil && len(cold.Buckets) > 0 {
		findings = append(findings, Finding{
			fmt.Sprintf("%d of %d buckets are cold: redis is new, was restarted or failed over", len(cold.Buckets), Buckets), Notice,
			"nodes read the outcomes back within a minute; if this stays, look at their logs",
		})
	}
	return findings
}

func (s *Store) checkServer(ctx context.Context, server *redis.Client) (findings []Finding) {
	addr := server.Options().Addr
	add := func(severity Severity, advice, format string, args ...any) {
		findings = append(findings, Finding{addr + ": " + fmt.Sprintf(format, args...), severity, advice})
	}
	asked := time.Now()
	serverTime, err := server.Time(ctx).Result()
	if err != nil {
		add(Problem, "check addresses, TLS and credentials; tasks wait until it is back", "no answer: %v", err)
		return findings
	}
	middle := asked.Add(time.Since(asked) / 2)
	if skew := serverTime.Sub(middle).Abs(); skew > maxSkew {
		add(Warning, "run an NTP client on both", "its clock differs from this machine's by %v", skew.Round(time.Millisecond))
	}
	info, err := server.Info(ctx).Result()
	if err != nil {
		add(Warning, "allow the command INFO: without it a restart or failover is noticed only when all keys are gone", "INFO is refused: %v", err)
		return findings
	}
	checkMemory(info, add)
	checkPersistence(info, add)
	checkVersion(info, add)
	if infoField(info, "role") == "master" && infoField(info, "connected_slaves") == "0" {
		add(Notice, "use Sentinel or a Cluster where tasks must go on without this machine", "no replica is connected")
	}
	s.checkRunID(ctx, server, add)
	return findings
}

type addFinding func(severity Severity, advice, format string, args ...any)

func checkMemory(info string, add addFinding) {
	if policy := infoField(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
		add(Problem, "CONFIG SET maxmemory-policy noeviction", "maxmemory-policy is %s: an evicted state looks like none", policy)
	}
	used, _ := strconv.ParseInt(infoField(info, "used_memory"), 10, 64)
	limit, _ := strconv.ParseInt(infoField(info, "maxmemory"), 10, 64)
	if limit > 0 && used*100 > limit*fullPercent {
		add(Warning, "raise maxmemory or shorten the retention: a full server grants no claims", "%d%% of maxmemory is used", used*100/limit)
	}
}

func checkPersistence(info string, add addFinding) {
	switch infoField(info, "aof_enabled") {
	case "0":
		add(Warning, "CONFIG SET appendonly yes, with appendfsync everysec", "no append-only file: a restart forgets what runs, and every outcome is read back from Kafka")
	case "1":
		if status := infoField(info, "aof_last_write_status"); status != "" && status != "ok" {
			add(Problem, "look at the server's disk", "its append-only file cannot be written: %s", status)
		}
	}
	if infoField(info, "loading") == "1" {
		add(Notice, "wait", "it is loading its data")
	}
}

func checkVersion(info string, add addFinding) {
	version := infoField(info, "redis_version")
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 == nil && err2 == nil && (major < minVersion || major == minVersion && minor < minMinor) {
		add(Problem, fmt.Sprintf("use version %d.%d or later", minVersion, minMinor), "version %s is too old", version)
	}
}

// checkRunID tries what the scripts do to notice a restart.
func (s *Store) checkRunID(ctx context.Context, server *redis.Client, add addFinding) {
	id, err := server.Eval(ctx, prelude+"\nreturn run_id()", nil).Text()
	if err != nil || strings.HasPrefix(id, "-") {
		add(Warning, "allow the command INFO inside scripts", "scripts cannot see which server they run on: a restart or failover is noticed only when all keys are gone")
	}
}
