package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// memoryPort names the first broker inside their own network.
const memoryPort = 9092

func (s *Servers) startKafka(ctx context.Context, options Options) error {
	settings := []kfake.Opt{
		kfake.ClusterID("embedded"),
		// A real broker refuses less than 6 s; tests want their crashed
		// members gone sooner.
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
		kfake.GroupMaxSessionTimeout(30 * time.Minute),
		kfake.BrokerConfigs(map[string]string{
			"group.consumer.session.timeout.ms": "10000",
			"offsets.retention.minutes":         "43200", // longer than any topic keeps its records
		}),
		kfake.WithLogger(clusterLog{options.Log}),
	}
	if options.DataDir != "" {
		settings = append(settings, kfake.DataDir(options.DataDir))
	}
	if options.InMemory {
		network := &kfake.VirtualNetwork{}
		ports := []int{memoryPort}
		for len(ports) < options.Brokers {
			ports = append(ports, memoryPort+len(ports))
		}
		settings = append(settings, kfake.NumBrokers(len(ports)), kfake.Ports(ports...), kfake.ListenFn(network.Listen))
		s.KafkaDialer = func(ctx context.Context, kind, addr string) (net.Conn, error) {
			conn, err := network.DialContext(ctx, kind, addr)
			if err != nil {
				return nil, err
			}
			return newReadAhead(conn), nil
		}
	} else {
		settings = append(settings, kfake.NumBrokers(1), kfake.ListenFn(func(string, string) (net.Listener, error) {
			return listen(ctx, options.KafkaAddr)
		}))
	}
	cluster, err := kfake.NewCluster(settings...)
	if err != nil {
		return err
	}
	s.Broker, s.Addresses.Kafka = cluster, cluster.ListenAddrs()[0]
	appendTime{cluster}.install()
	epochs{cluster}.install()
	return nil
}

// clusterLog passes on what the broker says of its own troubles. What it says
// of clients is theirs to tell.
type clusterLog struct{ log *slog.Logger }

func (l clusterLog) Logf(level kfake.LogLevel, format string, args ...any) {
	if level == kfake.LogLevelError {
		l.log.Error("embedded broker", "error", fmt.Sprintf(format, args...))
	}
}
