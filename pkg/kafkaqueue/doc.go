// Package kafkaqueue carries tasks through Kafka: it is the only place that
// knows topics, records and consumer groups.
//
// A [Producer] publishes tasks, completion events, hops and dead letters, each
// with an acknowledgement of its own. A [Consumer] delivers the records of one
// task type and commits what is finished; a [Router] moves records out of the
// delay tiers when they are due; a [Listener] hands completion events to a
// function; an [Admin] creates and checks the topics; [ReadResults] and
// [ReadDeadLetters] read a topic once, without a group.
//
// # What it promises
//
// An acknowledgement without error means that all in-sync replicas have the
// record. Each publication is acknowledged exactly once; what may heal is
// retried for ever, and [ErrRefused] says that it never will.
//
// Only the watermark of a partition is ever committed: the lowest offset that
// is not finished. It never passes an unfinished record and never goes down
// while the partition is owned; finishing a record after its partition was
// revoked has no effect. A hole in the offsets that Kafka delivers, or a
// committed offset below the log's start, is reported as a [Gap].
//
// A record that cannot be read is delivered all the same, with Err and Reason
// set, so that it can be set aside whole.
//
// # What it does not promise
//
// Records may be delivered more than once, and in any order: who claims a task
// decides whether it runs. Nothing here knows claims.
package kafkaqueue
