// Package embedded starts a Kafka broker and a Redis inside the process, so
// that a demo, a test or a first try needs neither installed.
//
// The broker is kfake, the Redis is miniredis. Both speak the real protocols on
// real TCP ports, or in memory for a testing/synctest bubble. Where they are
// known to differ from what the queue relies on, this package makes up for it:
// a topic's LogAppendTime is honoured, keys expire by the clock, and INFO
// tells a run id and an eviction policy.
//
// They promise nothing that production needs: one broker without replicas, no
// fsync, no limit on memory, and a Redis that forgets all when it stops. The
// broker keeps its log between starts when it is given a folder.
package embedded
