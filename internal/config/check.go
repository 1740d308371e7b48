package config

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// checker collects what is wrong with values that could be read.
type checker struct {
	settings *Settings
	problems []Problem
}

// check finds settings that are out of range or contradict each other.
func (s *Settings) check() []Problem {
	c := &checker{settings: s}
	c.kafka(s.Kafka)
	c.redis(s.Redis)
	c.store("store", s.Store)
	c.store("repository", s.Repository)
	c.refuse(s.Repository.URL == "" || s.Repository.URL != s.Store.URL, "repository.url", "is store.url: full snapshots belong into another store")
	c.node(s.Node)
	c.types(s.Types)
	c.servers()
	c.telemetry(s.Telemetry)
	return c.problems
}

// checkSections lets the packages that get the sections judge them too: their
// rules may be stricter than what check knows by key.
func (s *Settings) checkSections() []Problem {
	c := &checker{settings: s}
	kafka, err := s.Kafka.Config()
	c.section("kafka", err, kafka.Validate)
	redis, err := s.Redis.Config()
	c.section("redis", err, redis.Validate)
	if s.Store.URL != "" {
		c.section("store", nil, s.Store.config().Validate)
	}
	if s.HasRepository() {
		c.section("repository", nil, s.Repository.config().Validate)
	}
	return c.problems
}

// refuse notes a problem unless ok.
func (c *checker) refuse(ok bool, key, advice string, args ...any) {
	if ok {
		return
	}
	c.problems = append(c.problems, c.settings.problem(key, c.value(key), fmt.Sprintf(advice, args...)))
}

// value is what a key is set to, ready to be printed.
func (c *checker) value(key string) string {
	v := reflect.ValueOf(*c.settings)
	n := schema
	for part := range strings.SplitSeq(key, ".") {
		if n = n.child(part); n == nil || v.Kind() != reflect.Struct {
			return ""
		}
		v = v.Field(n.index)
	}
	switch {
	case n.typ == nil:
		return ""
	case n.typ.Kind() == reflect.String, n.typ.Kind() == reflect.Slice:
		return show(plain(v))
	default:
		return plain(v)
	}
}

func (c *checker) kafka(k Kafka) {
	c.refuse(len(k.Brokers) > 0, "kafka.brokers", "name one broker at least, as host:port")
	c.addresses("kafka.brokers", k.Brokers)
	c.refuse(topicName(k.Prefix), "kafka.prefix", "topic names have letters, digits and . _ - alone, and 100 bytes of prefix at most")
	c.refuse(k.SessionTimeout >= time.Second, "kafka.session_timeout", "must be 1s or more: a shorter pause would lose the partitions")
	c.refuse(k.Window.Records >= 512, "kafka.window.records", "must be 512 or more: one poll brings as many")
	c.refuse(k.Window.Bytes >= 1<<20, "kafka.window.bytes", "must be 1MiB or more, or one large record stops the partition")
	c.refuse(len(k.Delays) > 0, "kafka.delays", "name one delay at least")
	c.refuse(slices.IsSorted(k.Delays) && len(slices.Compact(slices.Clone(k.Delays))) == len(k.Delays) && (len(k.Delays) == 0 || k.Delays[0] > 0),
		"kafka.delays", "must rise from one to the next, from above 0")
	c.refuse(len(k.Delays) == 0 || slices.Max(k.Delays) < k.Topics.TaskRetention/2, "kafka.delays",
		"must be shorter than half of kafka.topics.task_retention (%s)", formatDuration(k.Topics.TaskRetention))
	c.topics(k.Topics)
	c.sasl(k.SASL)
	c.tls("kafka.tls", k.TLS)
}

func (c *checker) topics(t Topics) {
	c.refuse(t.Partitions > 0, "kafka.topics.partitions", "must be 1 or more")
	c.refuse(t.Replication == -1 || t.Replication > 0, "kafka.topics.replication", "must be 1 or more, or -1 for the broker's default")
	c.refuse(t.MinInsyncReplicas >= 0, "kafka.topics.min_insync_replicas", "must be 1 or more, or 0 for the broker's default")
	c.refuse(t.Replication < 1 || t.MinInsyncReplicas <= int(t.Replication), "kafka.topics.min_insync_replicas",
		"is more than kafka.topics.replication (%d): nothing could be written", t.Replication)
	c.refuse(t.TaskRetention >= time.Hour, "kafka.topics.task_retention", "must be 1h or more: Kafka drops tasks that wait longer")
	c.refuse(t.ResultsRetention >= 7*day, "kafka.topics.results_retention", "must be 7d or more: the outcomes of tasks are read back from there")
	c.refuse(t.DeadLetterRetention >= time.Hour, "kafka.topics.dead_letter_retention", "must be 1h or more")
}

func (c *checker) sasl(s SASL) {
	login := s.Username != "" && (s.Password != "" || s.PasswordFile != "")
	c.refuse(s.Mechanism == "" || login, "kafka.sasl.mechanism", "needs kafka.sasl.username, and kafka.sasl.password or kafka.sasl.password_file")
	c.refuse(s.Mechanism != "" || s.Username == "" && s.Password == "" && s.PasswordFile == "", "kafka.sasl.mechanism",
		"is empty although there is a user or a password: choose PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
}

func (c *checker) redis(r Redis) {
	c.refuse(len(r.Addrs) > 0, "redis.addrs", "name one server at least, as host:port")
	c.addresses("redis.addrs", r.Addrs)
	c.refuse(len(r.Addrs) < 2 || r.Cluster || r.MasterName != "", "redis.addrs", "has several servers: set redis.cluster, or redis.master_name for Sentinels")
	c.refuse(!r.Cluster || r.MasterName == "", "redis.cluster", "does not go with redis.master_name: Sentinels watch no cluster")
	c.refuse(r.DB >= 0 && (!r.Cluster || r.DB == 0), "redis.db", "must be 0 or more, and 0 with a cluster")
	c.refuse(r.Prefix != "", "redis.prefix", "must not be empty")
	c.refuse(!strings.ContainsAny(r.Prefix, "{}"), "redis.prefix", "must have no braces: they decide where a cluster keeps a key")
	c.refuse(r.Username == "" || r.Password != "" || r.PasswordFile != "", "redis.username", "needs redis.password or redis.password_file")
	c.refuse(r.MasterName != "" || r.SentinelUsername == "" && r.SentinelPassword == "" && r.SentinelPasswordFile == "", "redis.master_name",
		"is empty although there is a login for Sentinels")
	c.refuse(r.Beat >= 10*time.Millisecond, "redis.beat", "must be 10ms or more")
	c.refuse(r.Lease <= time.Hour, "redis.lease", "must be 1h or less: a dead node's tasks wait as long")
	c.refuse(r.Lease >= 3*r.Beat, "redis.lease", "must be three times redis.beat (%s) or more, so that one lost beat loses no claim", formatDuration(r.Beat))
	c.refuse(r.Trust > r.Beat && r.Trust < r.Lease, "redis.trust", "must lie between redis.beat (%s) and redis.lease (%s)", formatDuration(r.Beat), formatDuration(r.Lease))
	c.refuse(r.Retention >= time.Hour, "redis.retention", "must be 1h or more: until then repeats of a task are known by its state")
	c.refuse(r.MaxLost > 0 && r.MaxLost <= 90, "redis.max_lost", "must lie between 1 and 90")
	c.tls("redis.tls", r.TLS)
}

func (c *checker) tls(key string, t TLS) {
	files := t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != ""
	c.refuse(t.Enabled || !files, key+".enabled", "is false although there are settings for TLS: set it to true or remove them")
	c.refuse((t.CertFile == "") == (t.KeyFile == ""), key+".cert_file", "goes with %s.key_file: set both or none", key)
	if !t.Enabled || (t.CertFile == "") != (t.KeyFile == "") {
		return
	}
	_, err := t.roots()
	c.refuse(err == nil, key+".ca_file", "%v", err)
	_, err = t.certificate()
	c.refuse(err == nil, key+".cert_file", "%v", err)
}

func (c *checker) store(key string, s Store) {
	c.refuse((s.AccessKey == "") == (s.SecretKey == "" && s.SecretKeyFile == ""), key+".access_key", "goes with %[1]s.secret_key or %[1]s.secret_key_file: set both or none", key)
	c.refuse(s.SessionToken == "" || s.AccessKey != "", key+".access_key", "is empty although there is %s.session_token", key)
	if s.CAFile != "" {
		_, err := TLS{CAFile: s.CAFile}.roots()
		c.refuse(err == nil, key+".ca_file", "%v", err)
	}
	if s.URL != "" {
		err := remotestore.Config{URL: s.URL}.Validate()
		c.refuse(err == nil, key+".url", "%s", oneLine(err))
	}
}

func (c *checker) section(key string, err error, validate func() error) {
	if err == nil {
		err = validate()
	}
	c.refuse(err == nil, key, "%s", oneLine(err))
}

// oneLine writes joined errors in one line.
func oneLine(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

func (c *checker) node(n Node) {
	c.refuse(n.Grace >= time.Second, "node.grace", "must be 1s or more")
	for _, name := range n.Types {
		err := task.ValidateType(name)
		c.refuse(err == nil, "node.types", "%v", err)
	}
}

func (c *checker) types(types map[string]Type) {
	for name, t := range types {
		key := "types." + name
		err := task.ValidateType(name)
		c.refuse(err == nil, key, "%v", err)
		c.refuse(t.Slots == nil || *t.Slots > 0, key+".slots", "must be 1 or more")
		c.refuse(t.Retry.MaxAttempts == nil || *t.Retry.MaxAttempts > 0, key+".retry.max_attempts", "must be 1 or more")
		c.refuse(t.Retry.Factor == nil || *t.Retry.Factor >= 1, key+".retry.factor", "must be 1 or more")
		c.refuse(t.Retry.Jitter == nil || *t.Retry.Jitter >= 0 && *t.Retry.Jitter <= 1, key+".retry.jitter", "must lie between 0 and 1")
		c.refuse(t.Retry.Initial == nil || t.Retry.Max == nil || *t.Retry.Initial <= *t.Retry.Max, key+".retry.initial", "must not be longer than %s.retry.max", key)
	}
}

func (c *checker) servers() {
	c.addresses("admin.listen", nonEmpty(c.settings.Admin.Listen))
	c.addresses("data_node.listen", nonEmpty(c.settings.DataNode.Listen))
	d := c.settings.DataNode
	c.refuse(d.CacheBytes > 0, "data_node.cache_bytes", "must be above 0")
	c.refuse(d.Refresh > 0, "data_node.refresh", "must be above 0")
	c.refuse(d.Poll > 0, "data_node.poll", "must be above 0")
	c.refuse(d.Offline.MinBytes > 0, "data_node.offline.min_bytes", "must be above 0: write 1 to send all merges")
	c.refuse(d.Offline.MaxQueueAge > 0, "data_node.offline.max_queue_age", "must be above 0")
	seen := map[string]bool{}
	for _, shard := range c.settings.DataNode.Shards {
		c.refuse(!seen[shard], "data_node.shards", "names %q twice", shard)
		seen[shard] = true
	}
}

func (c *checker) telemetry(t Telemetry) {
	c.refuse(t.Sampling >= 0 && t.Sampling <= 1, "telemetry.sampling", "must lie between 0 and 1")
	if t.OTLPEndpoint == "" {
		return
	}
	u, err := url.Parse(t.OTLPEndpoint)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	c.refuse(ok, "telemetry.otlp_endpoint", "must be a URL: http://collector:4317 or https://collector:4317")
	c.refuse(!ok || u.User == nil, "telemetry.otlp_endpoint", "must not hold a login: set OTEL_EXPORTER_OTLP_HEADERS")
}

// addresses refuses what is not host:port.
func (c *checker) addresses(key string, addrs []string) {
	for _, addr := range addrs {
		_, port, err := net.SplitHostPort(addr)
		n, numeric := strconv.ParseUint(port, 10, 16)
		ok := err == nil && numeric == nil && n < 1<<16 && !strings.Contains(addr, "/")
		c.refuse(ok, key, "%s is not host:port", show(addr))
	}
}

func nonEmpty(addr string) []string {
	if addr == "" {
		return nil
	}
	return []string{addr}
}

// topicName tells whether a prefix can start the name of a topic.
func topicName(text string) bool {
	for _, c := range []byte(text) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("._-", c) < 0 {
			return false
		}
	}
	return len(text) <= 100
}
