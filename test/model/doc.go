// Package model checks the protocol's models by exhaustive search with spin:
// queue.pml is the claim table of one task, commit.pml the commit of a shard,
// family.pml a parent and its child. Each rule has a mutant that leaves it out, and that must
// fail.
//
// The models and the code change together. What they leave out: time (leases and waits end
// at any moment instead), the expiry of states, more than one task, Redis Cluster, and how often copies of
// a record multiply.
//
// MODEL_LONG=1 runs the searches too that take up to a minute each (`make model`).
package model
