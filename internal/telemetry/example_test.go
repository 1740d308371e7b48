package telemetry_test

import (
	"context"
	"fmt"
	"os"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/telemetry"
)

func Example() {
	settings, ctx := config.Defaults(), context.Background()
	tel, err := telemetry.Start(ctx, telemetry.Config{
		Service: "offline-node", Version: "v1.0.0",
		Log: settings.Log, Telemetry: settings.Telemetry, Output: os.Stderr,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = tel.Shutdown(ctx) }()

	tel.Log.Info("started", "types", []string{"merge"}) // to standard error
	counter, _ := tel.Meter().Int64Counter("offline_node_claims")
	counter.Add(ctx, 1) // to /metrics
	families, _ := tel.Registry.Gather()
	for _, f := range families {
		if f.GetName() == "offline_node_claims_total" {
			fmt.Println(f.GetName(), f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	// Output: offline_node_claims_total 1
}
