package kafkaqueue

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Severity says how bad a [Finding] is.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // breaks a promise
	SeverityWarning Severity = "warning" // may break one, or hides trouble
)

// Finding is one thing that endangers a promise, and what to do about it.
type Finding struct {
	What     string   `json:"what"`
	Severity Severity `json:"severity"`
	Advice   string   `json:"advice"`
}

// maxSkew is how far the brokers' clock may be ahead of this one unnoticed.
const maxSkew = time.Second

type findings []Finding

func (f *findings) add(s Severity, what, advice string, args ...any) {
	*f = append(*f, Finding{What: what, Severity: s, Advice: fmt.Sprintf(advice, args...)})
}

// Check lists what endangers a promise: settings of topics and brokers, lost
// replicas, backlogs that retention comes close to, committed offsets that it
// has overtaken, and clocks. An error means that the list is not complete.
func (a *Admin) Check(ctx context.Context, types []string) ([]Finding, error) {
	if err := validTypes(types); err != nil {
		return nil, err
	}
	all, err := a.checkTopics(ctx, a.cfg.specs(types))
	if err != nil {
		return nil, err
	}
	for _, check := range []func(context.Context, []string, *findings) error{a.checkBrokers, a.checkBacklogs, a.checkClock} {
		if err := check(ctx, types, &all); err != nil {
			return all, fmt.Errorf("check Kafka: %w", a.cfg.explain(err))
		}
	}
	return all, nil
}

func (a *Admin) checkTopics(ctx context.Context, specs []spec) (all findings, err error) {
	topics, err := a.list(ctx, specs)
	if err != nil {
		return nil, err
	}
	var present []string
	for _, s := range specs {
		if t, ok := topics[s.name]; !ok || t.Err != nil {
			all.add(SeverityError, "topic "+s.name+" is missing", "start a node once, or create it by hand")
		} else {
			present = append(present, s.name)
		}
	}
	if len(present) == 0 {
		return all, nil
	}
	configs, err := a.kadm.DescribeTopicConfigs(ctx, present...)
	if err != nil {
		return all, fmt.Errorf("describe topics: %w", a.cfg.explain(err))
	}
	for _, s := range specs {
		if !slices.Contains(present, s.name) {
			continue
		}
		a.checkReplicas(s, topics[s.name], &all)
		config, err := configs.On(s.name, nil)
		if err != nil || config.Err != nil {
			all.add(SeverityWarning, "topic "+s.name+" does not show its settings", "give this client the right DescribeConfigs")
			continue
		}
		a.checkConfig(s, settings(config.Configs), len(topics[s.name].Partitions.Numbers()), replicas(topics[s.name]), &all)
	}
	return all, nil
}

func settings(list []kadm.Config) map[string]string {
	m := map[string]string{}
	for _, c := range list {
		if c.Value != nil {
			m[c.Key] = *c.Value
		}
	}
	return m
}

func replicas(t kadm.TopicDetail) int {
	least := 0
	for _, p := range t.Partitions {
		if n := len(p.Replicas); least == 0 || n < least {
			least = n
		}
	}
	return least
}

func (a *Admin) checkReplicas(s spec, t kadm.TopicDetail, all *findings) {
	leaderless, behind := 0, 0
	for _, p := range t.Partitions {
		if p.Leader < 0 {
			leaderless++
		}
		if len(p.ISR) < len(p.Replicas) {
			behind++
		}
	}
	if leaderless > 0 {
		all.add(SeverityError, fmt.Sprintf("topic %s has %d partitions without a leader", s.name, leaderless), "bring their brokers back: nothing in them can be read or written")
	}
	if behind > 0 {
		all.add(SeverityWarning, fmt.Sprintf("topic %s has %d partitions with replicas that lag or are down", s.name, behind), "bring their brokers back: one more loss may cost tasks or stop writes")
	}
	want := int(a.cfg.Topics.Replication)
	switch have := replicas(t); {
	case want > 0 && have < want:
		all.add(SeverityError, fmt.Sprintf("topic %s has %d replicas, not %d", s.name, have, want), "reassign its partitions to more brokers")
	case have == 1:
		all.add(SeverityWarning, "topic "+s.name+" has one replica", "use three: the loss of its broker's disk loses accepted tasks")
	}
}

// checkConfig compares a topic's settings with what s needs.
func (a *Admin) checkConfig(s spec, have map[string]string, partitions, replicas int, all *findings) {
	topic := "topic " + s.name
	if int32(partitions) < s.partitions {
		all.add(SeverityWarning, fmt.Sprintf("%s has %d partitions, not %d", topic, partitions, s.partitions), "add partitions: no more nodes than that can take from it at a time")
	}
	policy := "delete"
	if s.keep == 0 {
		policy = "compact"
	}
	if p := have["cleanup.policy"]; p != policy {
		all.add(SeverityError, fmt.Sprintf("%s has cleanup.policy %s", topic, p), "set it to %s: anything else loses records", policy)
	}
	if keep, err := strconv.ParseInt(have["retention.ms"], 10, 64); s.keep > 0 && err == nil && keep >= 0 && keep < s.keep.Milliseconds() {
		all.add(SeverityError, fmt.Sprintf("%s has retention.ms %d", topic, keep), "set it to %d or more: records older than that are lost silently", s.keep.Milliseconds())
	}
	if size, err := strconv.ParseInt(have["retention.bytes"], 10, 64); s.keep > 0 && err == nil && size >= 0 {
		all.add(SeverityError, fmt.Sprintf("%s has retention.bytes %d", topic, size), "set it to -1: a backlog of that size would be lost silently")
	}
	if size, err := strconv.Atoi(have["max.message.bytes"]); err == nil && size < s.bytes {
		all.add(SeverityError, fmt.Sprintf("%s has max.message.bytes %d", topic, size), "set it to %d or more: batches up to that size are sent", s.bytes)
	}
	if t := have["message.timestamp.type"]; s.appendTime && t != "" && t != "LogAppendTime" {
		all.add(SeverityError, fmt.Sprintf("%s has message.timestamp.type %s", topic, t), "set it to LogAppendTime: delays and read-backs go by the brokers' clock")
	}
	if have["unclean.leader.election.enable"] == "true" {
		all.add(SeverityError, topic+" allows unclean leader elections", "set unclean.leader.election.enable to false: they lose acknowledged records")
	}
	a.checkInsync(topic, have["min.insync.replicas"], replicas, all)
}

func (a *Admin) checkInsync(topic, value string, replicas int, all *findings) {
	insync, err := strconv.Atoi(value)
	switch {
	case err != nil:
	case insync < a.cfg.Topics.MinInsync:
		all.add(SeverityError, fmt.Sprintf("%s has min.insync.replicas %d, not %d", topic, insync, a.cfg.Topics.MinInsync), "raise it")
	case replicas > 1 && insync >= replicas:
		all.add(SeverityWarning, fmt.Sprintf("%s has min.insync.replicas %d of %d replicas", topic, insync, replicas), "lower it by one, or add a replica: the loss of one broker stops all writes")
	case replicas > 1 && insync < 2:
		all.add(SeverityWarning, topic+" has min.insync.replicas 1", "set it to 2: a record that only one broker has counts as acknowledged")
	}
}

// checkBrokers compares the brokers' bounds with what the groups will ask for.
func (a *Admin) checkBrokers(ctx context.Context, _ []string, all *findings) error {
	brokers, err := a.kadm.ListBrokers(ctx)
	if err != nil {
		return err
	}
	configs, err := a.kadm.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
	if err != nil {
		return err
	}
	for _, broker := range configs {
		if broker.Err != nil {
			all.add(SeverityWarning, "broker "+broker.Name+" does not show its settings", "give this client the right DescribeConfigs on the cluster")
			continue
		}
		a.checkBroker("broker "+broker.Name, settings(broker.Configs), all)
	}
	return nil
}

func (a *Admin) checkBroker(broker string, have map[string]string, all *findings) {
	number := func(key string) (time.Duration, bool) {
		n, err := strconv.ParseInt(have[key], 10, 64)
		return time.Duration(n) * time.Millisecond, err == nil
	}
	session := a.cfg.SessionTimeout
	if a.cfg.ServerSideBalancer {
		if actual, ok := number("group.consumer.session.timeout.ms"); ok && actual > session {
			all.add(SeverityWarning, fmt.Sprintf("%s: group.consumer.session.timeout.ms is %d", broker, actual.Milliseconds()),
				"KIP-848 groups heed only the brokers' setting: a dead node's tasks wait %s, not %s; lower it and group.consumer.min.session.timeout.ms", actual, session)
		}
	} else {
		if least, ok := number("group.min.session.timeout.ms"); ok && session < least {
			all.add(SeverityError, fmt.Sprintf("%s: group.min.session.timeout.ms is %d", broker, least.Milliseconds()), "no consumer can join with a session timeout of %s: raise that, or lower the broker's bound", session)
		}
		if most, ok := number("group.max.session.timeout.ms"); ok && session > most {
			all.add(SeverityError, fmt.Sprintf("%s: group.max.session.timeout.ms is %d", broker, most.Milliseconds()), "no consumer can join with a session timeout of %s: lower that, or raise the broker's bound", session)
		}
	}
	if minutes, err := strconv.Atoi(have["offsets.retention.minutes"]); err == nil && time.Duration(minutes)*time.Minute < a.cfg.Topics.TaskRetention {
		all.add(SeverityWarning, fmt.Sprintf("%s: offsets.retention.minutes is %d", broker, minutes),
			"set it to %d or more: a fleet that is down for longer starts over with every record that is kept", int(a.cfg.Topics.TaskRetention.Minutes()))
	}
}

// checkBacklogs finds what retention took or will soon take.
func (a *Admin) checkBacklogs(ctx context.Context, types []string, all *findings) error {
	n := names{a.cfg.Prefix}
	for _, typ := range types {
		topics, err := a.list(ctx, []spec{{name: n.task(typ)}, {name: n.again(typ)}})
		if err != nil {
			return err
		}
		if len(topics) != 2 || topics.Error() != nil {
			continue // said already
		}
		backlogs, err := a.Backlog(ctx, []string{typ})
		if err != nil {
			return err
		}
		if age, keep := backlogs[typ].OldestAge, a.cfg.Topics.TaskRetention; age > keep/2 {
			all.add(SeverityWarning, fmt.Sprintf("the oldest waiting task of type %s is %s old", typ, age.Round(time.Minute)), "retention takes it after %s: run more nodes or raise retention.ms", keep)
		}
		if err := a.checkOvertaken(ctx, typ, all); err != nil {
			return err
		}
	}
	return nil
}

func (a *Admin) checkOvertaken(ctx context.Context, typ string, all *findings) error {
	n := names{a.cfg.Prefix}
	committed, err := a.kadm.FetchOffsets(ctx, n.group(typ))
	if err != nil {
		return nil //nolint:nilerr // no group yet: nothing was committed
	}
	starts, err := a.kadm.ListStartOffsets(ctx, n.task(typ), n.again(typ))
	if err != nil {
		return err
	}
	starts.Each(func(start kadm.ListedOffset) {
		if at, ok := committed.Lookup(start.Topic, start.Partition); ok && at.At >= 0 && at.At < start.Offset {
			all.add(SeverityError, fmt.Sprintf("retention took offsets %d to %d of %s partition %d before they were finished", at.At, start.Offset-1, start.Topic, start.Partition),
				"submit again what is missing, and raise retention.ms")
		}
	})
	return nil
}

// checkClock looks for records that the brokers stamped in our future. A clock
// that is behind cannot be told from a topic at rest.
func (a *Admin) checkClock(ctx context.Context, _ []string, all *findings) error {
	results := names{a.cfg.Prefix}.results()
	newest, err := a.kadm.ListMaxTimestampOffsets(ctx, results)
	if err != nil || newest.Error() != nil {
		return nil //nolint:nilerr // older brokers cannot tell
	}
	var ahead time.Duration
	newest.Each(func(o kadm.ListedOffset) {
		if o.Timestamp > 0 {
			ahead = max(ahead, time.Until(time.UnixMilli(o.Timestamp)))
		}
	})
	if ahead > maxSkew {
		all.add(SeverityWarning, fmt.Sprintf("the brokers' clock is %s ahead of this machine's", ahead.Round(time.Millisecond)), "synchronise the clocks: delays and deadlines go by them")
	}
	return nil
}
