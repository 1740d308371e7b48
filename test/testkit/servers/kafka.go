package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// KafkaConfig changes how a Kafka broker is started.
type KafkaConfig struct {
	// Properties are broker settings that win over the usual ones.
	Properties map[string]string
	// HeapMB is the broker's largest heap. Zero: 512.
	HeapMB int
	// Line is a second way in for clients, of a broker that is a process. Nil: none.
	Line *Line

	member *member
}

// Line is a way in that clients come by over something that a test put in front of the broker: Listen is the port that the
// broker opens for it, Advertised is what clients who came by it are told.
type Line struct {
	Listen, Advertised string
}

// NewLine picks the address that a broker will open.
func NewLine(ctx context.Context) (*Line, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	return &Line{Listen: address(port)}, nil
}

func (l *Line) addTo(properties map[string]string) {
	properties["listeners"] += ",LINE://" + l.Listen
	properties["advertised.listeners"] += ",LINE://" + l.Advertised
	properties["listener.security.protocol.map"] += ",LINE:PLAINTEXT"
}

// member is a broker's place among several.
type member struct {
	number, controller int
	voters             string
}

// StartKafkaCluster runs so many brokers, each a controller too, on data in dir. They are processes; a record is on all of
// them, up to three, and counts as sent when two have it.
func StartKafkaCluster(ctx context.Context, o Options, config KafkaConfig, brokers int, dir string) ([]*Server, error) {
	o.Where = Local
	members, err := newMembers(ctx, brokers)
	if err != nil {
		return nil, err
	}
	properties := clusterProperties(min(brokers, 3))
	maps.Copy(properties, config.Properties)
	config.Properties = properties
	started := make([]*Server, brokers)
	group, groupCtx := errgroup.WithContext(ctx)
	for i, m := range members {
		own := config
		own.member = m
		group.Go(func() (err error) {
			started[i], err = StartKafka(groupCtx, o, own, filepath.Join(dir, fmt.Sprint("broker-", m.number)))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		for _, server := range started {
			if server != nil {
				err = errors.Join(err, server.Stop(ctx))
			}
		}
		return nil, err
	}
	return started, nil
}

func newMembers(ctx context.Context, count int) ([]*member, error) {
	members, voters := make([]*member, count), make([]string, count)
	for i := range members {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		members[i] = &member{number: i + 1, controller: port}
		voters[i] = fmt.Sprintf("%d@%s", i+1, address(port))
	}
	for _, m := range members {
		m.voters = strings.Join(voters, ",")
	}
	return members, nil
}

func clusterProperties(replication int) map[string]string {
	all, most := fmt.Sprint(replication), fmt.Sprint(max(1, replication-1))
	return map[string]string{
		"default.replication.factor":                       all,
		"min.insync.replicas":                              most,
		"offsets.topic.replication.factor":                 all,
		"transaction.state.log.replication.factor":         all,
		"transaction.state.log.min.isr":                    most,
		"share.coordinator.state.topic.replication.factor": all,
		"share.coordinator.state.topic.min.isr":            most,
	}
}

// clusterID is any valid one: every cluster here has data of its own.
const clusterID = "b2ZmbGluZS1ub2Rlcy10dw"

// kafkaProperties are those of one broker that is its own controller, quick to restart and to rebalance. The bounds for
// session timeouts are wider than shipped, so that a test of a dead node need not wait for the usual ones.
func kafkaProperties(client, controller, advertised string, more map[string]string) map[string]string {
	properties := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        "1",
		"controller.quorum.voters":       "1@" + controller,
		"listeners":                      "PLAINTEXT://" + client + ",CONTROLLER://" + controller,
		"advertised.listeners":           "PLAINTEXT://" + advertised,
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "PLAINTEXT",
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",

		"offsets.topic.replication.factor":                 "1",
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",

		"auto.create.topics.enable":                "false",
		"broker.session.timeout.ms":                "3000",
		"broker.heartbeat.interval.ms":             "500",
		"group.initial.rebalance.delay.ms":         "0",
		"group.min.session.timeout.ms":             "1000",
		"group.consumer.min.session.timeout.ms":    "1000",
		"group.consumer.min.heartbeat.interval.ms": "200",
	}
	maps.Copy(properties, more)
	return properties
}

// StartKafka runs one Apache Kafka broker (KRaft) on data in dir.
func StartKafka(ctx context.Context, o Options, config KafkaConfig, dir string) (*Server, error) {
	image, err := o.pick(ctx, Kafka)
	if err != nil {
		return nil, err
	}
	if config.HeapMB == 0 {
		config.HeapMB = 512
	}
	return begin(ctx, dir, func(port int, dir string) (*Server, error) {
		server := &Server{Kind: Kafka, Addr: address(port)}
		if image != "" {
			server.How = "container " + image
			server.probe = kafkaProbe(server.Addr, "")
			server.run = kafkaContainer(image, port, config)
			return server, nil
		}
		server.How = "process"
		server.probe = kafkaProbe(server.Addr, KafkaVersion)
		server.run, err = kafkaProcess(ctx, o, config, port, dir)
		return server, err
	})
}

func kafkaContainer(image string, port int, config KafkaConfig) *container {
	properties := kafkaProperties("0.0.0.0:9092", "127.0.0.1:9093", address(port), config.Properties)
	properties["log.dirs"] = "/var/lib/kafka/data"
	env := map[string]string{
		"CLUSTER_ID":      clusterID,
		"KAFKA_HEAP_OPTS": fmt.Sprintf("-Xmx%dm", config.HeapMB),
	}
	for name, value := range properties {
		env["KAFKA_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))] = value
	}
	return &container{image: image, port: port, inside: 9092, volumes: []string{"/var/lib/kafka/data"}, env: env}
}

func kafkaProcess(ctx context.Context, o Options, config KafkaConfig, port int, dir string) (*process, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, missing("java", "the Debian package openjdk-17-jre-headless")
	}
	lib := filepath.Join(o.cache(), "kafka-"+KafkaVersion, "lib")
	if _, err := os.Stat(lib); err != nil {
		return nil, missing("Apache Kafka "+KafkaVersion, lib)
	}
	if config.member == nil {
		members, err := newMembers(ctx, 1)
		if err != nil {
			return nil, err
		}
		config.member = members[0]
	}
	properties := kafkaProperties(address(port), address(config.member.controller), address(port), nil)
	properties["node.id"] = strconv.Itoa(config.member.number)
	properties["controller.quorum.voters"] = config.member.voters
	if config.Line != nil {
		config.Line.addTo(properties)
	}
	maps.Copy(properties, config.Properties)
	properties["log.dirs"] = filepath.Join(dir, "data")
	file := filepath.Join(dir, "server.properties")
	if err := errors.Join(
		os.WriteFile(file, propertyFile(properties), 0o600),
		os.WriteFile(filepath.Join(dir, "log4j2.properties"), []byte(log4j), 0o600),
	); err != nil {
		return nil, fmt.Errorf("write Kafka's settings: %w", err)
	}

	class := func(heapMB int, name string, args ...string) []string {
		return append([]string{
			fmt.Sprintf("-Xmx%dm", heapMB), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.properties"), "-cp", filepath.Join(lib, "*"), name,
		}, args...)
	}
	format := exec.CommandContext(ctx, java, class(128, "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", file)...)
	format.Dir = dir
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format Kafka's storage: %w\n%s", err, lastLines(out, tailLines))
	}
	return &process{
		program: java, args: class(config.HeapMB, "kafka.Kafka", file), dir: dir, log: filepath.Join(dir, "server.log"),
	}, nil
}

const log4j = `rootLogger.level=WARN
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c %m%n
`

func propertyFile(properties map[string]string) []byte {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", name, properties[name])
	}
	return []byte(text.String())
}

var errNotReady = errors.New("not every partition has a leader yet")

// kafkaProbe answers once the broker shows itself in its metadata and leads every partition that it has: after a restart
// there is a time when it does the first only. Without a version it tells what the broker's requests look like.
func kafkaProbe(addr, version string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DialTimeout(time.Second), kgo.RequestRetries(0))
		if err != nil {
			return "", fmt.Errorf("make client: %w", err)
		}
		defer client.Close()
		admin := kadm.NewClient(client)
		metadata, err := admin.Metadata(ctx)
		if err != nil {
			return "", fmt.Errorf("ask metadata: %w", err)
		}
		if !ready(metadata) {
			return "", errNotReady
		}
		if version != "" {
			return version, nil
		}
		versions, err := admin.ApiVersions(ctx)
		if err != nil {
			return "", fmt.Errorf("ask versions: %w", err)
		}
		for _, broker := range versions {
			return broker.VersionGuess(), nil
		}
		return "", errNoVersion
	}
}

func ready(metadata kadm.Metadata) bool {
	if len(metadata.Brokers) == 0 {
		return false
	}
	for _, topic := range metadata.Topics {
		for _, partition := range topic.Partitions {
			if partition.Err != nil || partition.Leader < 0 {
				return false
			}
		}
	}
	return true
}
