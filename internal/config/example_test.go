package config_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

func Example() {
	set := pflag.NewFlagSet("offline-node", pflag.ContinueOnError)
	config.AddFlags(set)
	_ = set.Parse([]string{"--redis.lease=30s"})

	settings, err := config.Load(config.Sources{
		Flags:   set,
		Environ: []string{"OFFLINE_KAFKA__BROKERS=a:9092,b:9092", "OFFLINE_REDIS__PASSWORD=open sesame"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(settings.Kafka.Brokers, settings.Redis.Lease, settings.Redis.Password)

	_, err = config.Load(config.Sources{Environ: []string{"OFFLINE_KAFKA__BROKER=a:9092", "OFFLINE_REDIS__LEASE=30"}})
	fmt.Println(err)
	// Output:
	// [a:9092 b:9092] 30s ***
	// 2 mistakes in the settings:
	//   kafka.broker (OFFLINE_KAFKA__BROKER): no such setting: did you mean kafka.brokers?
	//   redis.lease = "30" (OFFLINE_REDIS__LEASE): a duration needs a unit: write 30s, 30m, 30h or 30d
}

func ExampleSettings_Dump() {
	settings, _ := config.Load(config.Sources{Environ: []string{"OFFLINE_LOG__LEVEL=debug"}})
	var b strings.Builder
	_ = settings.Dump(&b)
	_, log, _ := strings.Cut(b.String(), "\nlog:\n")
	_, _ = os.Stdout.WriteString(log)
	// Output:
	//   level: debug # OFFLINE_LOG__LEVEL
	//   format: text
	// telemetry:
	//   otlp_endpoint: ""
	//   otlp_protocol: grpc
	//   sampling: 1
}
