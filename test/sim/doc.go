// Package sim plays random histories of faults against the real queue in fake
// time: nodes, client and a shard in an object store, on a Kafka and a Redis in
// memory, all in one testing/synctest bubble. An observer outside of the faults
// reads every record, every committed offset and every state in Redis, and judges the promises of
// ARCHITECTURE.md while the history goes on.
//
// A history is drawn from a seed. The seed chooses what is submitted and which
// fault comes when; how goroutines interleave it does not, so a seed explores
// and need not repeat itself. A history that fails is played again to see how
// often it does, made smaller, and printed as a Go test.
//
//	make sim SEEDS=1000
//
// What a bubble can freeze: a node's network, its workers, and its loops at the named
// steps of package node. It cannot stop a goroutine between two steps, and all processes share one
// clock; only Redis' can be moved. Nothing deletes a topic and creates it anew:
// that loses accepted tasks by an operator's hand (package faults, row 24).
package sim
