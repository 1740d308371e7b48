package config

import (
	"os"
	"path/filepath"
	"time"
)

// Settings of all programs: they share one file, and each reads its sections.
// Get one from [Load] or [Defaults]. It may be read by many goroutines.
type Settings struct {
	Kafka      Kafka           `koanf:"kafka"`
	Redis      Redis           `koanf:"redis"`
	Store      Store           `koanf:"store"`
	Repository Store           `koanf:"repository"` // a second one, for full snapshots
	Node       Node            `koanf:"node"`
	Types      map[string]Type `koanf:"types"`
	DataNode   DataNode        `koanf:"data_node"`
	Admin      Admin           `koanf:"admin"`
	Log        Log             `koanf:"log"`
	Telemetry  Telemetry       `koanf:"telemetry"`

	// origins says where a key that is not at its default was set.
	origins map[string]string
}

// Kafka is the broker that carries tasks, and the topics on it.
type Kafka struct {
	Brokers            []string        `koanf:"brokers" common:"yes" help:"first brokers to ask, host:port, separated by commas"`
	ClientID           string          `koanf:"client_id" help:"name of this client in the broker's logs and quotas"`
	Prefix             string          `koanf:"prefix" common:"yes" help:"put before every topic and group name"`
	TLS                TLS             `koanf:"tls"`
	SASL               SASL            `koanf:"sasl"`
	SessionTimeout     time.Duration   `koanf:"session_timeout" help:"how long a silent member keeps its partitions"`
	ServerSideBalancer bool            `koanf:"server_side_balancer" help:"let the broker assign partitions (KIP-848, brokers from 4.3)"`
	Window             Window          `koanf:"window"`
	Delays             []time.Duration `koanf:"delays" help:"delays of the retry tiers, rising; the same in every process"`
	Topics             Topics          `koanf:"topics"`
}

// Window bounds what a consumer holds of one partition, from its watermark to its position.
type Window struct {
	Records int   `koanf:"records" help:"records held per partition"`
	Bytes   Bytes `koanf:"bytes" help:"bytes held per partition"`
}

// Topics is how topics are created and what is expected of those that exist.
type Topics struct {
	Partitions          int32         `koanf:"partitions" help:"partitions of a new topic"`
	Replication         int16         `koanf:"replication" help:"replicas of a new topic; -1: the broker's default"`
	MinInsyncReplicas   int           `koanf:"min_insync_replicas" help:"replicas that must have a record before it counts as sent; 0: the broker's default"`
	TaskRetention       time.Duration `koanf:"task_retention" help:"how long a task may wait to be run"`
	ResultsRetention    time.Duration `koanf:"results_retention" help:"how long a listener may be away"`
	DeadLetterRetention time.Duration `koanf:"dead_letter_retention" help:"how long a dead letter can be redriven"`
}

// SASL is how a client proves to Kafka who it is.
type SASL struct {
	Mechanism    string `koanf:"mechanism" oneof:"PLAIN SCRAM-SHA-256 SCRAM-SHA-512" help:"empty: no login"`
	Username     string `koanf:"username" help:"user to log in as"`
	Password     Secret `koanf:"password"`
	PasswordFile string `koanf:"password_file" help:"file that holds the password"`
}

// Redis holds claims. One address is one server; several are the nodes of a
// cluster or, with MasterName, Sentinels.
type Redis struct {
	Addrs                []string      `koanf:"addrs" common:"yes" help:"host:port, separated by commas; several: a cluster or Sentinels"`
	MasterName           string        `koanf:"master_name" help:"master that the Sentinels in redis.addrs watch"`
	Cluster              bool          `koanf:"cluster" help:"redis.addrs are nodes of a Redis Cluster"`
	Username             string        `koanf:"username" help:"user to log in as"`
	Password             Secret        `koanf:"password"`
	PasswordFile         string        `koanf:"password_file" help:"file that holds the password"`
	SentinelUsername     string        `koanf:"sentinel_username" help:"user to log in to the Sentinels as"`
	SentinelPassword     Secret        `koanf:"sentinel_password"`
	SentinelPasswordFile string        `koanf:"sentinel_password_file" help:"file that holds the Sentinels' password"`
	DB                   int           `koanf:"db" help:"number of the database; 0 with a cluster"`
	TLS                  TLS           `koanf:"tls"`
	Prefix               string        `koanf:"prefix" common:"yes" help:"put before every key and channel"`
	Lease                time.Duration `koanf:"lease" help:"how long a claim lasts unless it is renewed"`
	Beat                 time.Duration `koanf:"beat" help:"how often claims are renewed; at most a third of the lease"`
	Trust                time.Duration `koanf:"trust" help:"how long after asking a holder believes its claim; shorter than the lease"`
	Retention            time.Duration `koanf:"retention" help:"how long the state of an ended task can be asked for"`
	MaxLost              int           `koanf:"max_lost" help:"workers a task may lose before it is given up"`
}

// TLS of one client. A client certificate is read again for every handshake,
// so that it can be renewed in place.
type TLS struct {
	Enabled    bool   `koanf:"enabled" help:"speak TLS"`
	CAFile     string `koanf:"ca_file" help:"certificates to trust, PEM; empty: the system's"`
	CertFile   string `koanf:"cert_file" help:"client certificate, PEM"`
	KeyFile    string `koanf:"key_file" help:"key of the client certificate, PEM"`
	ServerName string `koanf:"server_name" help:"name expected in the server's certificate; empty: the host's"`
}

// Store is an object store: the one that holds shards, or the repository of snapshots.
type Store struct {
	URL           string `koanf:"url" common:"yes" help:"file:///dir, s3://bucket/prefix?endpoint=…&region=…, or mem://"`
	AccessKey     string `koanf:"access_key" help:"S3 access key; empty: the AWS SDK's own chain"`
	SecretKey     Secret `koanf:"secret_key"`
	SecretKeyFile string `koanf:"secret_key_file" help:"file that holds the S3 secret key"`
	SessionToken  Secret `koanf:"session_token"`
	CAFile        string `koanf:"ca_file" help:"certificates to trust besides the system's, PEM"`
}

// Node is the process that runs tasks.
type Node struct {
	Name       string        `koanf:"name" common:"yes" help:"name of this node; empty: the host's"`
	Types      []string      `koanf:"types" common:"yes" help:"task types to run, separated by commas; empty: all"`
	Grace      time.Duration `koanf:"grace" common:"yes" help:"how long running tasks may go on after a stop signal"`
	ScratchDir string        `koanf:"scratch_dir" common:"yes" help:"folder for what a task needs on disk; empty: one in the system's folder for temporary files"`
}

// Type changes how tasks of one type run. What is nil stays as the program
// that registers the type says.
type Type struct {
	Slots *int           `koanf:"slots" help:"tasks of the type that one node runs at a time"`
	Stall *time.Duration `koanf:"stall" help:"silence after which a run is ended; 0: never"`
	Retry Retry          `koanf:"retry"`
}

// Retry changes how often and how fast a failed task of one type runs again.
type Retry struct {
	MaxAttempts *int           `koanf:"max_attempts" help:"runs that count, the first included"`
	Initial     *time.Duration `koanf:"initial" help:"delay before the second attempt"`
	Max         *time.Duration `koanf:"max" help:"no delay is longer"`
	Factor      *float64       `koanf:"factor" help:"each delay is the last one times this"`
	Jitter      *float64       `koanf:"jitter" help:"share of the delay that is random, 0 to 1"`
}

// DataNode is the small server that indexes and searches.
type DataNode struct {
	Listen     string        `koanf:"listen" common:"yes" help:"host:port to serve on"`
	Dir        string        `koanf:"dir" common:"yes" help:"folder of the local copies of shards"`
	CacheBytes Bytes         `koanf:"cache_bytes" help:"size of local copies that nothing uses any more"`
	Shards     []string      `koanf:"shards" common:"yes" help:"shards to write and serve, separated by commas"`
	Refresh    time.Duration `koanf:"refresh" help:"how long an acknowledged write may take to become searchable"`
	Poll       time.Duration `koanf:"poll" help:"how often the store is asked for what others committed"`
	Offline    Offline       `koanf:"offline"`
}

// Offline is which work a data node gives away.
type Offline struct {
	Merge       string        `koanf:"merge" common:"yes" oneof:"off auto always" help:"run merges here (off), on offline nodes (always), or there while they keep up (auto)"`
	MinBytes    Bytes         `koanf:"min_bytes" help:"auto: smaller merges run here"`
	MaxQueueAge time.Duration `koanf:"max_queue_age" help:"auto: what has waited longer for an offline node runs here"`
}

// Admin is where a process shows its metrics and its health.
type Admin struct {
	Listen string   `koanf:"listen" common:"yes" help:"host:port of /metrics, /healthz and /readyz; empty: none"`
	Hosts  []string `koanf:"hosts" help:"names under which it may be asked, besides localhost and IP addresses; * for any"`
}

// Log is what a process writes to standard error.
type Log struct {
	Level  string `koanf:"level" common:"yes" oneof:"debug info warn error" help:"least level that is written"`
	Format string `koanf:"format" common:"yes" oneof:"text json" help:"how a line looks"`
}

// Telemetry is where traces go.
type Telemetry struct {
	OTLPEndpoint string  `koanf:"otlp_endpoint" help:"URL of a collector, http:// or https://; empty: no traces"`
	OTLPProtocol string  `koanf:"otlp_protocol" oneof:"grpc http" help:"what the collector speaks"`
	Sampling     float64 `koanf:"sampling" help:"share of new traces that is kept, 0 to 1"`
}

// Defaults are the settings of a process that is told nothing.
func Defaults() *Settings {
	const day = 24 * time.Hour
	return &Settings{
		Kafka: Kafka{
			Brokers:        []string{"127.0.0.1:9092"},
			ClientID:       "offline-nodes",
			SessionTimeout: 10 * time.Second,
			Window:         Window{Records: 4096, Bytes: 32 << 20},
			Delays:         []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour},
			Topics: Topics{
				Partitions: 6, Replication: -1,
				TaskRetention: 14 * day, ResultsRetention: 7 * day, DeadLetterRetention: 30 * day,
			},
		},
		Redis: Redis{
			Addrs:     []string{"127.0.0.1:6379"},
			Prefix:    "offline:",
			Lease:     15 * time.Second,
			Beat:      5 * time.Second,
			Trust:     10 * time.Second,
			Retention: day,
			MaxLost:   3,
		},
		Node:  Node{Types: []string{}, Grace: 30 * time.Second},
		Types: map[string]Type{},
		DataNode: DataNode{
			Listen: "127.0.0.1:9470", Shards: []string{}, CacheBytes: 1 << 30, Refresh: time.Second, Poll: 5 * time.Second,
			Offline: Offline{Merge: "auto", MinBytes: 1 << 20, MaxQueueAge: 2 * time.Minute},
		},
		Admin:     Admin{Listen: "127.0.0.1:9464", Hosts: []string{}},
		Log:       Log{Level: "info", Format: "text"},
		Telemetry: Telemetry{OTLPProtocol: "grpc", Sampling: 1},
	}
}

// NodeName is the node's configured name, or the host's.
func (n Node) NodeName() (string, error) {
	if n.Name != "" {
		return n.Name, nil
	}
	return os.Hostname()
}

// Scratch is the folder for what tasks need on disk. It may not exist yet.
func (n Node) Scratch() string {
	if n.ScratchDir != "" {
		return n.ScratchDir
	}
	return filepath.Join(os.TempDir(), "offline-nodes")
}
