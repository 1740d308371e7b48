// Package bench measures the whole engine on real Kafka and Redis.
//
//	make bench-go
//
// Figures depend on the machine: compare ratios of one run. Each benchmark
// does a fixed amount of work and reports rates and costs as metrics of its own; how often go test
// repeats it does not change what is measured.
package bench
