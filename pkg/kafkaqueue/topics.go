package kafkaqueue

import (
	"strconv"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// names knows every topic and group of one prefix.
type names struct{ prefix string }

func (n names) task(typ string) string          { return n.prefix + "tasks." + typ }
func (n names) again(typ string) string         { return n.prefix + "tasks." + typ + ".again" }
func (n names) tier(delay time.Duration) string { return n.prefix + "tasks.retry." + shortDelay(delay) }
func (n names) results() string                 { return n.prefix + "tasks.results" }
func (n names) deadLetter() string              { return n.prefix + "tasks.dead-letter" }
func (n names) settings() string                { return n.prefix + "tasks.settings" }

func (n names) group(typ string) string { return n.prefix + "offline-nodes." + typ }

// routerGroup cannot be a type's group: no type starts with "retry.".
func (n names) routerGroup() string { return n.prefix + "offline-nodes.retry.router" }

// larger tells which topics take records that grew by the headers of hops
// and letters: all but the task topics.
func (n names) larger(topic string) bool {
	rest, ok := strings.CutPrefix(topic, n.prefix+"tasks.")
	return ok && (strings.HasSuffix(rest, ".again") || strings.HasPrefix(rest, "retry.") || rest == "results" || rest == "dead-letter" || rest == "settings")
}

// typeOf is the task type of a task topic or a return topic.
func (n names) typeOf(topic string) (typ string, ok bool) {
	rest, ok := strings.CutPrefix(topic, n.prefix+"tasks.")
	typ = strings.TrimSuffix(rest, ".again")
	return typ, ok && task.ValidateType(typ) == nil
}

// shortDelay writes a delay as people do: 5s, 2m, 1h30m.
func shortDelay(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// validTopicPart tells whether s may be part of a topic's name.
func validTopicPart(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", rune(c)) {
			return false
		}
	}
	return true
}

// spec is what a topic has to be like.
type spec struct {
	name       string
	partitions int32
	keep       time.Duration // retention.ms at least; 0: compacted
	bytes      int           // max.message.bytes at least
	appendTime bool          // the broker's clock stamps the records
}

// specs are all topics that tasks of these types need.
func (c Config) specs(types []string) []spec {
	n, t := names{c.Prefix}, c.Topics
	list := []spec{
		{name: n.results(), partitions: t.Partitions, keep: t.ResultsRetention, bytes: hopRecordBytes, appendTime: true},
		{name: n.deadLetter(), partitions: t.Partitions, keep: t.DeadLetterRetention, bytes: hopRecordBytes},
		{name: n.settings(), partitions: 1, bytes: hopRecordBytes},
	}
	for _, d := range c.Delays {
		list = append(list, spec{name: n.tier(d), partitions: t.Partitions, keep: t.TaskRetention, bytes: hopRecordBytes, appendTime: true})
	}
	for _, typ := range types {
		list = append(list,
			spec{name: n.task(typ), partitions: t.Partitions, keep: t.TaskRetention, bytes: taskRecordBytes},
			spec{name: n.again(typ), partitions: t.Partitions, keep: t.TaskRetention, bytes: hopRecordBytes})
	}
	return list
}

// settingsHistory is how long at least a version of a setting that was replaced can be read.
const settingsHistory = 7 * 24 * time.Hour

// configs are the settings that a new topic gets.
func (s spec) configs(minInsync int) map[string]*string {
	set := map[string]string{
		"max.message.bytes":              strconv.Itoa(s.bytes),
		"unclean.leader.election.enable": "false",
		"cleanup.policy":                 "compact",
	}
	if s.keep > 0 {
		set["cleanup.policy"] = "delete"
		set["retention.ms"] = strconv.FormatInt(s.keep.Milliseconds(), 10)
		set["retention.bytes"] = "-1"
	} else {
		set["min.compaction.lag.ms"] = strconv.FormatInt(settingsHistory.Milliseconds(), 10)
	}
	if s.appendTime {
		set["message.timestamp.type"] = "LogAppendTime"
	}
	if minInsync > 0 {
		set["min.insync.replicas"] = strconv.Itoa(minInsync)
	}
	pointers := map[string]*string{}
	for key, value := range set {
		pointers[key] = &value
	}
	return pointers
}
