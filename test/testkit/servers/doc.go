// Package servers runs the real servers that tests and demonstrations need: Apache Kafka, Redis and an S3 server.
//
// A server is a process of this machine or a container, as [Options] and the machine allow; its caller cannot tell the
// difference. Start returns when the server answers as a client would ask it, not merely when its port is open. Every
// server listens on the loopback interface only, on a port of its own, and keeps its data in a folder that its caller
// gave.
//
// On Linux no server outlives the process that started it, whatever ends that process: the kernel kills it. Containers
// are removed by Stop alone.
//
// Package testkit is what tests use; this package is what it and the servers command are made of.
package servers
