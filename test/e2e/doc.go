// Package e2e runs whole flows on real Kafka, Redis and S3: the programs as
// processes, killed and stopped as they are in life, and the library as its
// users call it.
package e2e
